#include "model/ops/attention.h"

#include <algorithm>
#include <cmath>

#include "model/kv_codec.h"

namespace gritstone {

RopeTable::RopeTable(const ModelConfig& config) {
  const std::size_t half = config.head_dim / 2;
  cos.resize(config.context * half);
  sin.resize(config.context * half);
  for (std::size_t i = 0; i < half; ++i) {
    // Frequency and angle in f32, as the reference implementation has them: at position 4000 the f32 rounding is visible in the logits.
    const float frequency = 1.0f / static_cast<float>(std::pow(static_cast<double>(config.rope_theta),
                                                               static_cast<double>(2 * i) / static_cast<double>(config.head_dim)));
    for (std::size_t position = 0; position < config.context; ++position) {
      const float angle = static_cast<float>(position) * frequency;
      cos[position * half + i] = static_cast<float>(std::cos(static_cast<double>(angle)));
      sin[position * half + i] = static_cast<float>(std::sin(static_cast<double>(angle)));
    }
  }
}

namespace {

// Heads stored with rotated pairs side by side (2i, 2i + 1) are brought to the (i, i + half) order all kernels use. Scores do not change:
// q and k are reordered alike.
void split_pairs(float* x, std::size_t heads, std::size_t dim, std::vector<float>& scratch) {
  scratch.resize(dim);
  const std::size_t half = dim / 2;
  for (std::size_t h = 0; h < heads; ++h) {
    float* head = x + h * dim;
    for (std::size_t i = 0; i < half; ++i) {
      scratch[i] = head[2 * i];
      scratch[half + i] = head[2 * i + 1];
    }
    std::copy(scratch.begin(), scratch.end(), head);
  }
}

void clamp(float* x, float limit, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) x[i] = std::clamp(x[i], -limit, limit);
}

// Sequence a row belongs to.
const StepSequence& sequence_of(const StepRows& step, std::size_t row) {
  const auto it =
      std::find_if(step.sequences.begin(), step.sequences.end(), [&](const StepSequence& s) { return row < s.row_begin + s.rows; });
  return *it;
}

}  // namespace

void qkv_norm_rope_store(OpContext& context, const AttentionInputs& in, const StepRows& step, float* q, float* k, float* v) {
  const ModelConfig& config = *in.config;
  const VectorKernels& kernels = context.vector();
  const std::size_t dim = config.head_dim, half = dim / 2;
  const std::size_t head_row = in.pool->head_row_bytes();
  const KvFormat format = kv_format(in.pool->type());
  const float q_scale = 1.0f / std::sqrt(static_cast<float>(dim));
  context.pool().parallel_for(in.rows, [&](std::size_t row, std::size_t) {
    float* q_row = q + row * config.q_width();
    float* k_row = k + row * config.kv_width();
    float* v_row = v + row * config.kv_width();
    if (in.q_norm != nullptr) {
      kernels.rms_norm(q_row, in.q_norm, config.rms_norm_eps, q_row, config.q_width());
      kernels.rms_norm(k_row, in.k_norm, config.rms_norm_eps, k_row, config.kv_width());
    }
    if (config.clip_qkv > 0.0f) {
      clamp(q_row, config.clip_qkv, config.q_width());
      clamp(k_row, config.clip_qkv, config.kv_width());
      clamp(v_row, config.clip_qkv, config.kv_width());
    }
    if (config.rope_style == RopeStyle::kInterleaved) {
      thread_local std::vector<float> scratch;
      split_pairs(q_row, config.heads, dim, scratch);
      split_pairs(k_row, config.kv_heads, dim, scratch);
    }
    const KvSequence& sequence = *sequence_of(step, row).kv;
    const std::size_t slot = step.slots[row];
    const std::size_t angle = static_cast<std::size_t>(sequence.positions[slot]) * half;
    for (std::size_t h = 0; h < config.heads; ++h) {
      kernels.rope(q_row + h * dim, in.rope->cos.data() + angle, in.rope->sin.data() + angle, q_scale, dim);
    }
    const std::uint32_t page = sequence.pages[slot / kKvBlock];
    for (std::size_t h = 0; h < config.kv_heads; ++h) {
      kernels.kv_encode(format, k_row + h * dim, in.pool->block(page, in.layer, false, h) + slot % kKvBlock * head_row, dim);
      kernels.kv_encode(format, v_row + h * dim, in.pool->block(page, in.layer, true, h) + slot % kKvBlock * head_row, dim);
    }
  });
}

void attention(OpContext& context, const AttentionInputs& in, const StepRows& step, const float* q, float* out) {
  const ModelConfig& config = *in.config;
  const std::size_t dim = config.head_dim;
  const std::size_t per_kv = config.heads / config.kv_heads;
  struct Tile {
    const StepSequence* sequence;
    std::size_t row_begin, rows, kv_head;
  };
  std::vector<Tile> tiles;
  for (const StepSequence& sequence : step.sequences) {
    if (sequence.depth <= in.layer) break;
    for (std::size_t row = 0; row < sequence.rows; row += kQueryTile) {
      for (std::size_t head = 0; head < config.kv_heads; ++head) {
        tiles.push_back({&sequence, sequence.row_begin + row, std::min(kQueryTile, sequence.rows - row), head});
      }
    }
  }
  context.pool().parallel_for(tiles.size(), [&](std::size_t index, std::size_t thread) {
    const Tile& tile = tiles[index];
    const KvSequence& kv = *tile.sequence->kv;
    thread_local std::vector<const std::uint8_t*> k_blocks, v_blocks;
    thread_local std::vector<const float*> queries;
    thread_local std::vector<float*> outputs;
    thread_local std::vector<std::size_t> visible;
    thread_local std::vector<std::int32_t> groups;
    k_blocks.clear();
    v_blocks.clear();
    for (const std::uint32_t page : kv.pages) {
      k_blocks.push_back(in.pool->block(page, in.layer, false, tile.kv_head));
      v_blocks.push_back(in.pool->block(page, in.layer, true, tile.kv_head));
    }
    queries.clear();
    outputs.clear();
    visible.clear();
    groups.clear();
    for (std::size_t row = tile.row_begin; row < tile.row_begin + tile.rows; ++row) {
      for (std::size_t h = tile.kv_head * per_kv; h < (tile.kv_head + 1) * per_kv; ++h) {
        queries.push_back(q + row * config.q_width() + h * dim);
        outputs.push_back(out + row * config.q_width() + h * dim);
        visible.push_back(step.visible[row]);
        groups.push_back(kv.groups[step.slots[row]]);
      }
    }
    AttentionTask task;
    task.format = kv_format(in.pool->type());
    task.head_dim = dim;
    task.row_bytes = in.pool->head_row_bytes();
    task.k_blocks = k_blocks.data();
    task.v_blocks = v_blocks.data();
    task.slot_position = kv.positions.data();
    task.slot_group = kv.grouped ? kv.groups.data() : nullptr;
    task.cos = in.rope->cos.data();
    task.sin = in.rope->sin.data();
    task.queries = queries.size();
    task.q = queries.data();
    task.out = outputs.data();
    task.visible = visible.data();
    task.group = groups.data();
    task.scratch = context.scratch(thread);
    context.vector().attention(task);
  });
}

std::size_t attention_op_scratch(const ModelConfig& config) noexcept {
  return attention_scratch(config.head_dim, kQueryTile * (config.heads / config.kv_heads));
}

}  // namespace gritstone
