// The feed-forward half of a layer: routed experts, or one dense SwiGLU network.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "model/model_config.h"
#include "model/ops/linear.h"
#include "model/weights.h"

namespace gritstone {

// Keeps its buffers between steps. Not thread-safe.
class MoeFfn {
 public:
  explicit MoeFfn(const ModelConfig& config) : config_(config) {}

  // x [rows, hidden] += FFN(normed). `normed` holds the rows in the forms the layer's matrices need.
  // Router: softmax over all experts in f32, then the top experts_used (ties: the lower id); weights are renormalised only with
  // norm_topk_prob. Tokens are grouped by expert so that an expert's weights are read once a step; each token sums its experts in the order
  // of their probability, so the sum does not depend on the batch.
  void run(OpContext& context, const LayerWeights& weights, const Activations& normed, float* x, std::size_t rows);

  // Probabilities over all experts of the last run, [rows, experts]; empty for a dense model.
  const float* router_probabilities() const noexcept { return probabilities_; }

 private:
  void route(OpContext& context, const LayerWeights& weights, const Activations& normed, std::size_t rows);

  const ModelConfig& config_;
  float* probabilities_ = nullptr;
  // Pairs (token, choice) sorted by expert: pair i is token token_[i]; expert e owns [begin_[e], begin_[e + 1]).
  std::vector<std::uint32_t> token_;
  std::vector<std::size_t> begin_;
  std::vector<std::size_t> pair_of_choice_;  // [rows * used]
  std::vector<float> weight_of_choice_;      // [rows * used]
  std::vector<std::uint32_t> all_pairs_;     // 0, 1, 2, ...
  QuantizedRows hidden_rows_;
  Workspace router_, gate_, up_, down_;
};

}  // namespace gritstone
