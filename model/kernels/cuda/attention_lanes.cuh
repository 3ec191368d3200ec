// What the attention kernels share: which slots a row sees, the online softmax, and the columns that attention_vec's lanes hold.
#pragma once

#include <cmath>

#include "model/kernels/cuda/ops.h"
#include "model/kernels/cuda/warp.cuh"

namespace gritstone::cuda {

inline constexpr float kLog2E = 1.44269504088896341f;

// The group rule of StepView.
__device__ inline bool sees(std::int32_t row_group, std::int32_t slot_group) {
  return (row_group < 0) | (slot_group == 0) | (slot_group == row_group);
}

// Is subtracted from the scores, so that the largest weighs 1. Nothing was seen yet: anything finite.
__device__ inline float shift_of(float top) { return top == -INFINITY ? 0.0f : top; }

// A lane's elements of a row of head_dim: eight of its first half and the eight they are rotated with. Whole: head_dim is 16 lanes.
// Otherwise some lanes have nothing, or four and four, and the rest is zero.
template <bool kWhole>
struct Columns {
  std::uint32_t begin, half;

  __device__ bool has(std::uint32_t piece) const { return kWhole || begin + 4 * piece < half; }

  __device__ void load(const bf16* row, std::uint32_t (&words)[8]) const {
#pragma unroll
    for (std::uint32_t part = 0; part < 2; ++part) {
      const bf16* p = row + part * half + begin;
      if constexpr (kWhole) {
        const uint4 x = load_once(p);
        words[4 * part] = x.x, words[4 * part + 1] = x.y, words[4 * part + 2] = x.z, words[4 * part + 3] = x.w;
      } else {
#pragma unroll
        for (std::uint32_t piece = 0; piece < 2; ++piece) {
          const uint2 x = has(piece) ? *reinterpret_cast<const uint2*>(p + 4 * piece) : make_uint2(0, 0);
          words[4 * part + 2 * piece] = x.x, words[4 * part + 2 * piece + 1] = x.y;
        }
      }
    }
  }

  // Eight f32 from p + begin.
  __device__ void load(const float* p, float* x) const {
#pragma unroll
    for (std::uint32_t piece = 0; piece < 2; ++piece) {
      const float4 y = has(piece) ? *reinterpret_cast<const float4*>(p + begin + 4 * piece) : make_float4(0, 0, 0, 0);
      x[4 * piece] = y.x, x[4 * piece + 1] = y.y, x[4 * piece + 2] = y.z, x[4 * piece + 3] = y.w;
    }
  }

  __device__ void store(const float* x, float* p) const {
#pragma unroll
    for (std::uint32_t piece = 0; piece < 2; ++piece) {
      if (!has(piece)) continue;
      const float* y = x + 4 * piece;
      *reinterpret_cast<float4*>(p + begin + 4 * piece) = make_float4(y[0], y[1], y[2], y[3]);
    }
  }
};

__device__ inline void unpack(const std::uint32_t (&words)[8], float (&x)[16]) {
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    x[2 * i] = bf16_low(words[i]);
    x[2 * i + 1] = bf16_high(words[i]);
  }
}

// Online softmax of one query over the slots its lanes saw (base 2: log2 e is in the queries).
struct Softmax {
  float top = -INFINITY, sum = 0;
  float acc[16] = {};

  // Takes in another part that weighs exp2(other_top): factors of the own and the other sums.
  __device__ float2 join(float other_top) {
    const float next = fmaxf(top, other_top), shift = shift_of(next);
    const float2 factors = make_float2(exp2f(top - shift), exp2f(other_top - shift));
    top = next;
    return factors;
  }
};

}  // namespace gritstone::cuda
