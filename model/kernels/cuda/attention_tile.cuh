// What the kernels for tiles of queries share (attention_tiles.cu, attention_warpgroup.cuh): a warp's sixteen queries in the fragments of
// the tensor cores, masks, the online softmax and the results.
#pragma once

#include <cmath>

#include "model/kernels/cuda/attention_lanes.cuh"
#include "model/kernels/cuda/attention_marks.cuh"
#include "model/kernels/cuda/ops.h"
#include "model/kernels/cuda/warp.cuh"

namespace gritstone::cuda {

struct TileWork {
  AttentionArguments arguments;
  StepView step;
  KvView kv;
  const AttentionTile* tiles;
  const __half* keys;

  // K of a KV head, from the tile's first 64 slots on: 64 slots further are key_stride() elements.
  __device__ const __half* first_keys(const AttentionTile& tile, std::uint32_t kv_head, std::uint32_t dim) const {
    return keys + (static_cast<std::size_t>(tile.key_block) * kv.kv_heads + kv_head) * kPageSlots * dim;
  }
  __device__ std::uint32_t key_stride(std::uint32_t dim) const { return kv.kv_heads * kPageSlots * dim; }
  // V of a KV head in page 0: the next page is page_stride() elements further.
  __device__ const bf16* first_values(std::uint32_t kv_head) const { return kv.block(0, arguments.layer, true, kv_head); }
  __device__ std::uint32_t page_stride(std::uint32_t dim) const { return kv.layers * 2 * kv.kv_heads * kPageSlots * dim; }
};

// What a lane knows of its two queries, rows lane / 4 and lane / 4 + 8 of the warp's sixteen.
struct Queries {
  std::int32_t visible[2], group[2];
};

// The warp's row of the tile that a lane's first query is.
__device__ inline std::int32_t first_row() { return static_cast<std::int32_t>(threadIdx.x / kWarp * 16 + threadIdx.x % kWarp / 4); }

// Rows past the tile's are zero, see what makes no mask necessary, and are not written.
template <int kDim>
__device__ inline Queries load_queries(const TileWork& work, const AttentionTile& tile, std::uint32_t head,
                                       std::uint32_t (&q)[kDim / 16][4]) {
  Queries queries;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const std::int32_t row = first_row() + 8 * half;
    const bool used = row < tile.rows;
    queries.visible[half] = used ? work.step.visible[tile.row + row] : tile.visible;
    queries.group[half] = used && work.arguments.grouped ? work.step.group[tile.row + row] : -1;
    const __half* from =
        work.arguments.q_half + (static_cast<std::size_t>(tile.row + row) * work.arguments.heads + head) * kDim + threadIdx.x % 4 * 2;
#pragma unroll
    for (int i = 0; i < kDim / 8; ++i) {
      q[i / 2][i % 2 * 2 + half] = used ? *reinterpret_cast<const std::uint32_t*>(from + i * 8) : 0;
    }
  }
  return queries;
}

// Sets what the queries do not see to -inf. groups null: only `visible` counts.
__device__ inline void hide(const Queries& queries, std::int32_t first_slot, const unsigned char* groups, float (&scores)[8][4]) {
  const std::int32_t column = static_cast<std::int32_t>(threadIdx.x % 4) * 2;
#pragma unroll
  for (int n = 0; n < 8; ++n) {
    int2 pair = make_int2(0, 0);
    if (groups != nullptr) pair = *reinterpret_cast<const int2*>(groups + (n * 8 + column) * 4);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const bool seen =
          (first_slot + n * 8 + column + i % 2 < queries.visible[i / 2]) & sees(queries.group[i / 2], i % 2 == 0 ? pair.x : pair.y);
      scores[n][i] = seen ? scores[n][i] : -INFINITY;
    }
  }
}

// Scores become weights; `factors` are for what was summed with the weights before. `sum` is of the lane's columns only. The largest weight
// is 1, which bf16 has exactly: where it may grow to 2^8 before anything is scaled anew, the tests find errors above their 3e-3.
__device__ inline void weigh(float (&scores)[8][4], float (&top)[2], float (&sum)[2], float (&factors)[2]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int first = 2 * half, second = first + 1;
    float next = top[half];
#pragma unroll
    for (int n = 0; n < 8; ++n) next = fmaxf(next, fmaxf(scores[n][first], scores[n][second]));
    next = fmaxf(next, __shfl_xor_sync(kAllLanes, next, 1));
    next = fmaxf(next, __shfl_xor_sync(kAllLanes, next, 2));
    const float shift = shift_of(next);
    factors[half] = exp2f(top[half] - shift);
    top[half] = next;
    sum[half] *= factors[half];
#pragma unroll
    for (int n = 0; n < 8; ++n) {
      scores[n][first] = exp2f(scores[n][first] - shift);
      scores[n][second] = exp2f(scores[n][second] - shift);
      sum[half] += scores[n][first] + scores[n][second];
    }
  }
}

template <int kTiles>
__device__ inline void scale(const float (&factors)[2], float (&acc)[kTiles][4]) {
#pragma unroll
  for (int n = 0; n < kTiles; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) acc[n][i] *= factors[i / 2];
  }
}

// The weights' accumulators are, packed, the left operand of the product with V: sixteen slots.
__device__ inline void pack_weights(const float (&left)[4], const float (&right)[4], std::uint32_t (&a)[4]) {
  a[0] = pack_bf16(left[0], left[1]);
  a[1] = pack_bf16(left[2], left[3]);
  a[2] = pack_bf16(right[0], right[1]);
  a[3] = pack_bf16(right[2], right[3]);
}

template <int kDim>
__device__ inline void write_results(const TileWork& work, const AttentionTile& tile, std::uint32_t head, float (&sum)[2],
                                     const float (&acc)[kDim / 8][4]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    sum[half] += __shfl_xor_sync(kAllLanes, sum[half], 1);
    sum[half] += __shfl_xor_sync(kAllLanes, sum[half], 2);
    const float inverse = sum[half] > 0 ? 1 / sum[half] : 0.0f;
    const std::int32_t row = first_row() + 8 * half;
    if (row >= tile.rows) continue;
    const std::size_t out = (static_cast<std::size_t>(tile.row + row) * work.arguments.heads + head) * kDim + threadIdx.x % 4 * 2;
#pragma unroll
    for (int n = 0; n < kDim / 8; ++n) {
      const float2 y = make_float2(acc[n][2 * half] * inverse, acc[n][2 * half + 1] * inverse);
      if (work.arguments.out_f32 != nullptr) *reinterpret_cast<float2*>(work.arguments.out_f32 + out + n * 8) = y;
      if (work.arguments.out_half != nullptr) {
        *reinterpret_cast<std::uint32_t*>(work.arguments.out_half + out + n * 8) = pack_half(y.x, y.y, work.arguments.half_type);
      }
    }
  }
}

}  // namespace gritstone::cuda
