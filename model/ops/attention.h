// Q, K and V of a step: normed, rotated, stored; and attention over each sequence's slots.
#pragma once

#include <cstddef>
#include <vector>

#include "model/kv_pool.h"
#include "model/model_config.h"
#include "model/ops/context.h"
#include "model/ops/step.h"

namespace gritstone {

// cos and sin of position * theta^(-2i / head_dim), [context, head_dim / 2] each.
struct RopeTable {
  std::vector<float> cos, sin;
  RopeTable(const ModelConfig& config);
};

struct AttentionInputs {
  const ModelConfig* config = nullptr;
  const RopeTable* rope = nullptr;
  const KvPool* pool = nullptr;
  std::size_t layer = 0;
  std::size_t rows = 0;           // rows of the step whose projections are given
  const float* q_norm = nullptr;  // [q_width], null without qk_norm
  const float* k_norm = nullptr;  // [kv_width]
};

// In place on q [rows, q_width], k and v [rows, kv_width]: QK-norm over the whole vector, clamp; q is rotated to its position and
// multiplied with 1/sqrt(head_dim); k (not rotated) and v are rounded to the live KV type and stored in the rows' slots.
void qkv_norm_rope_store(OpContext& context, const AttentionInputs& in, const StepRows& step, float* q, float* k, float* v);

// out [rows, q_width] = softmax(q K^T) V for the rows that compute the layer.
void attention(OpContext& context, const AttentionInputs& in, const StepRows& step, const float* q, float* out);

// Scratch floats one attention task needs.
std::size_t attention_op_scratch(const ModelConfig& config) noexcept;

}  // namespace gritstone
