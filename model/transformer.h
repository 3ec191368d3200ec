// The forward pass: rows of a step through the layers, on one device.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
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

  // Logits [rows.size(), vocab] of rows of the last forward (which must have computed all layers).
  void logits(std::span<const std::size_t> rows, float* out);

 private:
  void observe_hidden(std::size_t layers, std::size_t rows, StepObserver& observer);
  void layer(const StepRows& step, const KvPool& pool, std::size_t index, StepObserver& observer);
  float* norm_rows(const std::vector<float>& weight, std::size_t rows);  // of hidden_, into norm_

  const ModelConfig& config_;
  const Weights& weights_;
  OpContext context_;
  RopeTable rope_;
  MoeFfn ffn_;
  QuantizedRows rows_;
  Workspace x_, norm_, q_, k_, v_, attended_, projected_, chosen_;
  float* hidden_ = nullptr;  // [rows, hidden] of the running step
};

}  // namespace gritstone
