// The kernels behind attention_tiles (ops.h), for tests and measurements.
#pragma once

#include "model/kernels/cuda/ops.h"

namespace gritstone::cuda {

inline constexpr int kAttentionVariants = 2;
inline constexpr int kWarpgroupAttention = 1;  // the other one is for any device and head_dim

bool has_attention_variant(int variant, std::uint32_t head_dim);  // on this device and in this build

void attention_variant(Stream stream, int variant, const AttentionArguments& arguments, const StepView& step, const AttentionTile* tiles,
                       std::uint32_t tile_count, const KvView& kv, const __half* keys);

}  // namespace gritstone::cuda
