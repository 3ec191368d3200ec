// Any bytes as a GGUF file: opened and checked like a model, or rejected with kModelRejected; nothing else may happen.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/error.h"
#include "model/files/gguf_config.h"
#include "model/files/gguf_model.h"
#include "model/files/gguf_reader.h"
#include "model/files/tensor_table.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace gritstone;
  try {
    const GgufFile file({data, size}, "fuzz");
    const ModelConfig config = gguf_config(file, "fuzz");
    const std::vector<TensorRef> tensors = gguf_tensors(file);
    check_tensors(config, tensors, "fuzz");
    gguf_vocab(file, "fuzz");
    // What was accepted must be readable to its last byte.
    std::vector<float> row;
    for (const TensorRef& tensor : tensors) {
      row.resize(tensor.shape.back());
      const std::size_t bytes = row_bytes(tensor.type, row.size());
      for (std::size_t offset = 0; offset < tensor.bytes; offset += bytes)
        dequantize_row(tensor.type, tensor.data + offset, row.data(), row.size());
    }
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kModelRejected) __builtin_trap();
  }
  return 0;
}
