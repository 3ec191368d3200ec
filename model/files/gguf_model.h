// A model in one GGUF file.
#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "model/files/gguf_reader.h"
#include "model/model_file.h"

namespace gritstone {

// Opens and validates; see ModelFile::open.
std::unique_ptr<ModelFile> open_gguf_model(const std::filesystem::path& path);

// The tensor table with shapes slowest first; data points into file.bytes().
std::vector<TensorRef> gguf_tensors(const GgufFile& file);

}  // namespace gritstone
