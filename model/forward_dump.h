// Everything one forward pass computes, as named tensors: what parity with other implementations is checked on.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "model/engine.h"

namespace gritstone {

struct DumpTensor {
  std::string name;
  std::size_t rows = 0;  // tokens
  std::size_t cols = 0;
  std::vector<float> values;  // [rows, cols]
};

// hidden.0 (embeddings) ... hidden.L (after the last layer, before the final norm), hidden.norm (after it), router.0 ... router.L-1
// (probabilities over all experts; models with experts only), logits.
// Throws what the engine throws (kInvalidArgument for ids outside the vocabulary or more than the context).
std::vector<DumpTensor> forward_dump(Engine& engine, std::span<const TokenId> ids, Attention attention, std::stop_token cancel = {});

// As a safetensors file of F32 tensors. Throws Error(kStorage).
void write_dump(const std::filesystem::path& path, std::span<const DumpTensor> tensors);

}  // namespace gritstone
