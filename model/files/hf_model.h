// A model in a Hugging Face directory: config.json, tokenizer.json, safetensors files.
#pragma once

#include <filesystem>
#include <memory>

#include "model/model_file.h"

namespace gritstone {

// Opens and validates; see ModelFile::open.
std::unique_ptr<ModelFile> open_hf_model(const std::filesystem::path& directory);

}  // namespace gritstone
