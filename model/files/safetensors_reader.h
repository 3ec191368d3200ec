// Parses the header of a safetensors file from untrusted bytes; tensors are located, not read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "model/dtype.h"

namespace gritstone {

struct SafetensorsTensor {
  std::string name;
  std::string dtype;               // as written: "BF16"
  std::optional<DType> type;       // F32, F16, BF16; nullopt for the others, which are an error only where such a tensor is used
  std::vector<std::size_t> shape;  // slowest first; empty for a scalar
  std::size_t offset = 0;          // in the file
  std::size_t bytes = 0;
};

// The header of one file. Checks: header of 2 bytes to 100 MB and inside the file, an object, unique keys, known element types, sizes
// equal to product x element size, offsets contiguous from 0 without holes or overlap, and the last one at the end of the file.
//   bytes  the whole file; what: names it in errors.
// Throws Error(kModelRejected) with the tensor's name or the offset.
std::vector<SafetensorsTensor> parse_safetensors(std::span<const std::uint8_t> bytes, const std::string& what);

// weight_map of a model.safetensors.index.json: tensor name -> file name, which must be a plain name ending in .safetensors.
// Throws Error(kModelRejected).
std::map<std::string, std::string> parse_safetensors_index(const std::string& json, const std::string& what);

}  // namespace gritstone
