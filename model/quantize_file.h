// Converts a model (GGUF or Hugging Face directory) to a GGUF of another weight type.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <stop_token>

#include "model/dtype.h"
#include "model/model_file.h"

namespace gritstone {

struct QuantizeOptions {
  DType type = DType::kQ4_K;         // of the matrices; norms and routers stay f32; rows that a K type does not divide take a 32-block type
  std::optional<DType> output_type;  // of output.weight (and of a tied embedding matrix); default: Q6_K for types below it, else `type`
  std::size_t threads = 0;           // 0: all cores this process may use
};

// Writes `output` in llama.cpp's conventions: for llama models from a Hugging Face directory, q and k rows are permuted into interleaved
// RoPE pairs. Metadata of a GGUF source is copied, its tokenizer included; a tokenizer.json is converted. A source without a tokenizer
// gives a file without one. Streamed: memory is about one batch of rows (64 MB).
//   progress  elements converted so far and in all; called from this thread.
// Throws Error: kInvalidArgument (output is the source); kModelRejected (tokenizer that GGUF cannot express); kStorage; kCancelled (nothing
// is left behind).
void quantize_model(const ModelFile& source, const std::filesystem::path& output, const QuantizeOptions& options,
                    const std::function<void(std::uint64_t done, std::uint64_t total)>& progress = {}, std::stop_token stop = {});

// The type that a row of `columns` can take when `type` is asked for: `type` itself, or for a K type that does not divide the row the
// 32-block type of at least its precision (Q2_K, Q3_K, Q4_K: Q4_0, Q5_0 ...), or f16 if not even 32 divides it.
DType fitting_type(DType type, std::size_t columns) noexcept;

}  // namespace gritstone
