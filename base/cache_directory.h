// Where things are kept that can be made again: measurements, hashes.
#pragma once

#include <filesystem>
#include <string_view>

namespace gritstone {

// ${XDG_CACHE_HOME:-~/.cache}/gritstone/NAME; empty if the environment names no place for it. Not created.
std::filesystem::path cache_directory(std::string_view name);

}  // namespace gritstone
