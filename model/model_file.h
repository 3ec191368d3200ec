// What a model file or directory holds, whatever its format: hyperparameters, tensors, tokenizer. Nothing here computes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/dtype.h"
#include "model/model_config.h"
#include "model/tokenizer.h"

namespace gritstone {

// One tensor in a mapped file. Rows are contiguous: shape {rows, cols} or {experts, rows, cols} with cols the fastest-varying dimension
// (a linear layer y = W x has rows = outputs, cols = inputs); vectors are {n}.
struct TensorRef {
  std::string name;  // GGUF's name ("blk.3.ffn_gate_exps.weight") also for tensors of a Hugging Face directory
  DType type = DType::kF32;
  std::vector<std::size_t> shape;
  const std::uint8_t* data = nullptr;  // row 0; alignment 1 is possible
  std::size_t bytes = 0;
  // Hugging Face stores experts one by one: then data is null and expert e is at parts[e] ({rows, cols} each).
  std::vector<const std::uint8_t*> parts;
};

// Owns the mappings; TensorRefs borrow from it. Immutable after open, thread-safe.
class ModelFile {
 public:
  // A .gguf file, or a directory with config.json, tokenizer.json and *.safetensors. Everything is validated against the config's shapes
  // before return; nothing is read but headers.
  // Throws Error: kNotFound; kModelRejected with path, offset or tensor name and the reason; kStorage.
  static std::unique_ptr<ModelFile> open(const std::filesystem::path& path);
  virtual ~ModelFile() = default;

  virtual const std::filesystem::path& path() const noexcept = 0;
  virtual const ModelConfig& config() const noexcept = 0;
  virtual const std::vector<TensorRef>& tensors() const noexcept = 0;
  virtual std::uint64_t bytes() const noexcept = 0;  // of all files mapped

  // nullptr if the file has no such tensor.
  const TensorRef* find(const std::string& gguf_name) const noexcept;

  // Built on demand (the vocabulary is large). Throws Error(kModelRejected) if the tokenizer is missing or malformed.
  virtual std::unique_ptr<Tokenizer> tokenizer() const = 0;

  // SHA-256 (hex) of the file, or of the directory's files in name order. Reads everything the first time; remembered in the user's cache
  // directory by (path, size, mtime, inode) of each file.
  virtual std::string hash() const = 0;

  // Drops the pages of a tensor from the resident set, after it has been repacked.
  virtual void release(const TensorRef& tensor) const noexcept = 0;
};

}  // namespace gritstone
