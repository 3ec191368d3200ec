// The forward pass: rows of a step through the layers, on one device.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "model/engine.h"
#include "model/kv_pool.h"
#include "model/ops/attention.h"
#include "model/ops/context.h"
#include "model/ops/moe_ffn.h"
#include "model/ops/step.h"
#include "model/weights.h"

namespace gritstone {

// What a step's caller may look at while it runs. Pointers are valid during the call only.
class StepObserver {
 public:
  virtual ~StepObserver() = default;
  // x [rows, hidden] after `layers` layers (0: the embeddings); rows are those that computed them.
  virtual void on_hidden(std::size_t layers, const float* x, std::size_t rows) = 0;
  // Router probabilities [rows, experts] of layer `layer`.
  virtual void on_router(std::size_t layer, const float* probabilities, std::size_t rows) = 0;
  // K (after its norm, before RoPE) and V of layer `layer`, [rows, kv_width] each.
  virtual void on_kv(std::size_t layer, const float* k, const float* v, std::size_t rows) = 0;
};

// Not thread-safe: the engine's thread owns it. Borrows config, weights and pool.
class Transformer {
 public:
  Transformer(const ModelConfig& config, const Weights& weights, const KernelTable& kernels, ThreadPool& threads);

  // Computes the step's rows, writing K and V into their slots.
  void forward(const StepRows& step, const KvPool& pool, StepObserver& observer);

  // Final norm of n rows of hidden states x [n, hidden], into out [n, hidden]. Usable inside on_hidden.
  void final_norm(const float* x, std::size_t n, float* out);

  // Logits [rows.size(), vocab] of rows of the last forward (which must have computed all layers).
  void logits(std::span<const std::size_t> rows, float* out);

 private:
  void layer(const StepRows& step, const KvPool& pool, std::size_t index, StepObserver& observer);
  float* norm_rows(const std::vector<float>& weight, std::size_t rows);

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
