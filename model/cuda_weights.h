// A model's weights on the device: packed on the CPU's threads, copied once.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "model/affine_blocks.h"
#include "model/kernels/cuda/device.h"
#include "model/kernels/cuda/ops.h"
#include "model/model_file.h"

namespace gritstone {

struct CudaLayer {
  const float* attention_norm = nullptr;  // [hidden]
  const float* ffn_norm = nullptr;
  const float* q_norm = nullptr;  // [q_width], [kv_width]; null without qk_norm
  const float* k_norm = nullptr;
  cuda::DeviceMatrix qkv;               // rows of q, k and v, one behind the other
  cuda::DeviceMatrix attention_output;  // [hidden, q_width]
  cuda::DeviceMatrix router;            // f32 [experts, hidden]; no rows if dense
  cuda::DeviceMatrix gate_up;           // [experts][2 * ffn, hidden]: row 2i is gate i, row 2i + 1 is up i; a dense FFN is one expert
  cuda::DeviceMatrix down;              // [experts][hidden, ffn]
};

// Immutable after construction. Quantised matrices keep their codes (model/affine_blocks.h); all others become bf16.
class CudaWeights {
 public:
  // Bytes of device memory that the model's weights take. Throws Error(kModelRejected) as the constructor does.
  static std::size_t device_bytes(const ModelFile& file);

  // Throws Error: kModelRejected if a tensor is missing or has a width that the kernels do not take; kMemoryBudget; kDevice.
  CudaWeights(const ModelFile& file, ThreadPool& threads);

  const std::vector<CudaLayer>& layers() const noexcept { return layers_; }
  const cuda::DeviceMatrix& embedding() const noexcept { return embedding_; }
  const cuda::DeviceMatrix& output() const noexcept { return output_; }
  const float* output_norm() const noexcept { return output_norm_; }

 private:
  const float* vector(const std::string& name);

  const ModelFile& file_;
  std::vector<cuda::DeviceBuffer> buffers_;
  std::vector<CudaLayer> layers_;
  cuda::DeviceMatrix embedding_, output_;
  const float* output_norm_ = nullptr;
};

}  // namespace gritstone
