// The forward pass: rows of a step through the layers, on one device.
#pragma once

#include <cstddef>
#include <vector>

#include "model/backend.h"
#include "model/kv_pool.h"
#include "model/ops/attention.h"
#include "model/ops/context.h"
#include "model/ops/moe_ffn.h"
#include "model/ops/step.h"
#include "model/weights.h"

namespace gritstone {

// Not thread-safe: the engine's thread owns it. Borrows config, weights and pool.
class Transformer {
 public:
  Transformer(const ModelConfig& config, const Weights& weights, const KernelTable& kernels, ThreadPool& threads);

  // Computes the step's rows, writing K and V into their slots. False if the observer abandoned it.
  bool forward(const StepRows& step, const KvPool& pool, StepObserver& observer);

  // [logit_rows.size(), vocab] of the last forward's step.
  void logits(float* out);

 private:
  void observe_hidden(std::size_t layers, std::size_t rows, StepObserver& observer);
  // Up to K and V in their slots; leaves q for the rest of the layer.
  AttentionInputs project(const StepRows& step, const KvPool& pool, std::size_t index, StepObserver& observer);
  void attend_and_feed(const StepRows& step, const AttentionInputs& inputs, StepObserver& observer);
  float* norm_rows(const std::vector<float>& weight, std::size_t rows);  // of hidden_, into norm_

  const ModelConfig& config_;
  const Weights& weights_;
  OpContext context_;
  RopeTable rope_;
  MoeFfn ffn_;
  QuantizedRows rows_;
  Workspace x_, norm_, q_, k_, v_, attended_, projected_, chosen_;
  float* hidden_ = nullptr;              // [rows, hidden] of the running step
  float* q_rows_ = nullptr;              // [rows, q_width] of the running layer
  std::vector<std::size_t> logit_rows_;  // of hidden_
};

}  // namespace gritstone
