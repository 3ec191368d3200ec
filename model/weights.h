// A model's weights in the layout its kernels want: mapped from the file or repacked once.
#pragma once

#include <cstddef>
#include <vector>

#include "base/thread_pool.h"
#include "model/buffer.h"
#include "model/engine.h"
#include "model/kernels/matmul.h"
#include "model/model_file.h"

namespace gritstone {

struct LayerWeights {
  std::vector<float> attention_norm, ffn_norm;  // [hidden]
  std::vector<float> q_norm, k_norm;            // [q_width], [kv_width]; empty without qk_norm
  Matrix q, k, v, attention_output;
  Matrix router;                       // [experts, hidden]; no rows if dense
  std::vector<Matrix> gate, up, down;  // one per expert; a dense FFN is one expert
};

// Immutable after construction. Borrows tensors that are used in place from `file`.
class Weights {
 public:
  // Throws Error: kModelRejected if a tensor is missing; kMemoryBudget.
  Weights(const ModelFile& file, ComputeMode compute, ThreadPool& pool);

  const std::vector<LayerWeights>& layers() const noexcept { return layers_; }
  const std::vector<float>& output_norm() const noexcept { return output_norm_; }
  const Matrix& output() const noexcept { return output_; }

  // Embedding of a token as f32, [hidden].
  void embed(TokenId token, float* out) const noexcept;
  // Bytes held beside the mapped file.
  std::size_t packed_bytes() const noexcept;

 private:
  const TensorRef& require(const std::string& name) const;
  std::vector<float> vector(const std::string& name) const;
  Matrix matrix(const std::string& name);
  std::vector<Matrix> experts(const std::string& name);
  std::vector<Matrix> load(const TensorRef& tensor, std::size_t count, std::size_t rows, std::size_t cols);

  const ModelFile& file_;
  ComputeMode compute_;
  ThreadPool& pool_;
  std::vector<Buffer> buffers_;
  std::vector<LayerWeights> layers_;
  std::vector<float> output_norm_;
  Matrix output_;
  const TensorRef* embedding_ = nullptr;
};

}  // namespace gritstone
