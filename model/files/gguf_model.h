// A model in one GGUF file.
#pragma once

#include <filesystem>
#include <memory>

#include "model/model_file.h"

namespace gritstone {

// Opens and validates; see ModelFile::open.
std::unique_ptr<ModelFile> open_gguf_model(const std::filesystem::path& path);

}  // namespace gritstone
