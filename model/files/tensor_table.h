// Which tensors a model must have and of which shapes: one table for both file formats, for reading and for writing.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "model/model_config.h"
#include "model/model_file.h"

namespace gritstone {

// What a tensor is for; decides the type it is written as and how Hugging Face names it.
enum class TensorRole {
  kEmbedding,  // token_embd [vocab, hidden]
  kOutput,     // output [vocab, hidden]
  kNorm,       // vectors of RMSNorm weights
  kRouter,     // ffn_gate_inp [experts, hidden]
  kLinear,     // attention matrices and dense FFN
  kExperts,    // [experts, rows, cols]
};

struct ExpectedTensor {
  std::string name;                // GGUF's
  std::vector<std::size_t> shape;  // as TensorRef::shape
  TensorRole role;
};

// In the order in which they are written: embedding, blocks, final norm, output. REQUIRES: a config that passed check_config().
std::vector<ExpectedTensor> expected_tensors(const ModelConfig& config);

// Plausibility of every hyperparameter, so that later products cannot overflow: layers <= 1024, hidden <= 65,536, vocab <= 2^24,
// experts <= 4096, heads a multiple of kv_heads, even head_dim, ...
// Throws Error(kModelRejected) as "what: ...".
void check_config(const ModelConfig& config, const std::string& what);

// Every expected tensor present once with the exact shape and a type that fits (norms not quantised), and nothing that would change the
// function computed and that we would ignore (biases, unknown block tensors).
// Throws Error(kModelRejected) naming the tensor.
void check_tensors(const ModelConfig& config, const std::vector<TensorRef>& tensors, const std::string& what);

std::string shape_text(const std::vector<std::size_t>& shape);  // "[64, 1024, 2048]"

}  // namespace gritstone
