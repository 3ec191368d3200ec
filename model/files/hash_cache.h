// SHA-256 of large files, remembered between runs.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace gritstone {

// SHA-256 (hex) of the file's bytes. Results are kept in ${XDG_CACHE_HOME:-~/.cache}/gritstone/hashes by (canonical path, size, mtime,
// inode); a damaged or unwritable cache only costs the time to hash again (about 1 s per GiB).
// Throws Error: kNotFound; kStorage if the file cannot be read.
std::string remembered_sha256(const std::filesystem::path& file);

// SHA-256 (hex) over "name, file hash" of each file in name order: the identity of a model directory.
std::string remembered_sha256(std::span<const std::filesystem::path> files);

}  // namespace gritstone
