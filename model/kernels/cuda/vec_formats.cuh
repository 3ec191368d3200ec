// The weight formats of the vec ops: what 16 bytes of weights are, and their product with rows of x in shared memory.
//
// x lies in planes, so that the 32 lanes of a warp read 512 consecutive bytes at a time: plane p, row r, chunk c are 16 bytes at
// [(p * x_rows + r) * chunks + c]. f32: 4 columns; bf16: plane p has columns 4 p .. 4 p + 3 of the chunk's 8, as f32. The integer formats
// keep x as int8 codes, 16 columns a plane, and per 32 columns' scale s: {s, s * sum of the codes} for each part of a chunk that has a pair
// of its own. Then W . x = scale * s * (codes . codes) + min * s * (sum of x's codes).
#pragma once

#include "model/kernels/cuda/ops.h"
#include "model/kernels/cuda/vec_shape.h"

namespace gritstone::cuda {

// x in shared memory as a kernel sees it.
struct StagedX {
  const uint4* values;
  const float2* scales;
  std::uint32_t rows, chunks;  // chunks: with the padding

  __device__ std::uint32_t at(std::uint32_t plane, std::uint32_t row, std::uint32_t chunk) const {
    return (plane * rows + row) * chunks + chunk;
  }
  __device__ float4 floats(std::uint32_t at) const { return reinterpret_cast<const float4*>(values)[at]; }
};

template <typename Self, int kFloats>
struct VecFloats {
  static constexpr std::uint32_t kCols = kFloats, kPlanes = kFloats / 4, kScales = 0;
  struct Pair {};

  __device__ static Pair load_pair(const __half2*, std::uint32_t, std::uint32_t) { return {}; }

  template <int kRows>
  __device__ static void multiply(const uint4 (&words)[kVecOut], const Pair (&)[kVecOut], const StagedX& x, std::uint32_t row,
                                  std::uint32_t chunk, float (&sums)[kVecOut][kRows]) {
#pragma unroll
    for (std::uint32_t plane = 0; plane < kPlanes; ++plane) {
      float4 w[kVecOut];
#pragma unroll
      for (std::uint32_t o = 0; o < kVecOut; ++o) w[o] = Self::unpack(words[o], plane);
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        const float4 v = x.floats(x.at(plane, row + r, chunk));
#pragma unroll
        for (std::uint32_t o = 0; o < kVecOut; ++o) {
          sums[o][r] = fmaf(w[o].w, v.w, fmaf(w[o].z, v.z, fmaf(w[o].y, v.y, fmaf(w[o].x, v.x, sums[o][r]))));
        }
      }
    }
  }
};

struct VecF32 : VecFloats<VecF32, 4> {
  __device__ static float4 unpack(const uint4& w, std::uint32_t) {
    return make_float4(__uint_as_float(w.x), __uint_as_float(w.y), __uint_as_float(w.z), __uint_as_float(w.w));
  }
};

struct VecBf16 : VecFloats<VecBf16, 8> {
  __device__ static float4 unpack(const uint4& w, std::uint32_t plane) {
    const std::uint32_t a = plane == 0 ? w.x : w.z, b = plane == 0 ? w.y : w.w;
    return make_float4(bf16_low(a), bf16_high(a), bf16_low(b), bf16_high(b));
  }
};

__device__ inline float2 vec_pair(std::uint32_t bits) {
  __half2 pair;
  memcpy(&pair, &bits, sizeof(pair));
  return __half22float2(pair);
}
__device__ inline int vec_dot4(std::uint32_t w, std::uint32_t x, int sum) { return __dp4a(static_cast<int>(w), static_cast<int>(x), sum); }

// A part of a chunk with one pair: its share of the output.
__device__ inline float vec_add_part(float2 pair, float2 x, int dot, float sum) {
  return fmaf(pair.y, x.y, fmaf(pair.x * x.x, __int2float_rn(dot), sum));
}

// Pairs per 16 or 32 columns: two lanes may share one.
struct VecInt8 {
  static constexpr std::uint32_t kCols = 16, kPlanes = 1, kScales = 1, kScaleCols = 16;
  using Pair = std::uint32_t;

  __device__ static Pair load_pair(const __half2* pairs, std::uint32_t at, std::uint32_t group) {
    return __ldcs(reinterpret_cast<const std::uint32_t*>(pairs) + (at >> group / 32));
  }

  template <int kRows>
  __device__ static void multiply(const uint4 (&words)[kVecOut], const Pair (&pairs)[kVecOut], const StagedX& x, std::uint32_t row,
                                  std::uint32_t chunk, float (&sums)[kVecOut][kRows]) {
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const std::uint32_t at = x.at(0, row + r, chunk);
      const uint4 v = x.values[at];
      const float2 scale = x.scales[at];
#pragma unroll
      for (std::uint32_t o = 0; o < kVecOut; ++o) {
        const uint4& w = words[o];
        const int dot = vec_dot4(w.w, v.w, vec_dot4(w.z, v.z, vec_dot4(w.y, v.y, vec_dot4(w.x, v.x, 0))));
        sums[o][r] = vec_add_part(vec_pair(pairs[o]), scale, dot, sums[o][r]);
      }
    }
  }
};

template <int kGroup>
struct VecInt4 {
  static constexpr std::uint32_t kCols = 32, kPlanes = 2, kScales = 32 / kGroup, kScaleCols = kGroup;
  struct Pair {
    std::uint32_t bits[kScales];
  };

  __device__ static Pair load_pair(const __half2* pairs, std::uint32_t at, std::uint32_t) {
    Pair pair;
    if constexpr (kScales == 1) {
      pair.bits[0] = __ldcs(reinterpret_cast<const std::uint32_t*>(pairs) + at);
    } else {
      const uint2 two = __ldcs(reinterpret_cast<const uint2*>(pairs) + at);
      pair.bits[0] = two.x;
      pair.bits[1] = two.y;
    }
    return pair;
  }

  __device__ static int dot(const uint4& w, int shift, const uint4& x, int sum) {
    constexpr std::uint32_t kMask = 0x0F0F0F0Fu;
    sum = vec_dot4(w.x >> shift & kMask, x.x, sum);
    sum = vec_dot4(w.y >> shift & kMask, x.y, sum);
    sum = vec_dot4(w.z >> shift & kMask, x.z, sum);
    return vec_dot4(w.w >> shift & kMask, x.w, sum);
  }

  template <int kRows>
  __device__ static void multiply(const uint4 (&words)[kVecOut], const Pair (&pairs)[kVecOut], const StagedX& x, std::uint32_t row,
                                  std::uint32_t chunk, float (&sums)[kVecOut][kRows]) {
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const std::uint32_t low = x.at(0, row + r, chunk), high = x.at(1, row + r, chunk);
      const uint4 v0 = x.values[low], v1 = x.values[high];
      const float2 scale = x.scales[low];
#pragma unroll
      for (std::uint32_t o = 0; o < kVecOut; ++o) {
        if constexpr (kScales == 1) {
          sums[o][r] = vec_add_part(vec_pair(pairs[o].bits[0]), scale, dot(words[o], 4, v1, dot(words[o], 0, v0, 0)), sums[o][r]);
        } else {
          sums[o][r] = vec_add_part(vec_pair(pairs[o].bits[0]), scale, dot(words[o], 0, v0, 0), sums[o][r]);
          sums[o][r] = vec_add_part(vec_pair(pairs[o].bits[1]), x.scales[high], dot(words[o], 4, v1, 0), sums[o][r]);
        }
      }
    }
  }
};

// Calls body(format) with the matrix's.
template <typename Body>
void vec_dispatch(const DeviceMatrix& w, const Body& body) {
  GS_CHECK(w.cols % 8 == 0 && w.cols > 0 && (w.group == 16 || w.group == 32));
  GS_CHECK(w.pairs == nullptr || w.cols % 32 == 0);
  switch (w.format) {
    case WeightFormat::kF32:
      return body(VecF32{});
    case WeightFormat::kBF16:
      return body(VecBf16{});
    case WeightFormat::kInt8:
      return body(VecInt8{});
    case WeightFormat::kInt4:
      return w.group == 16 ? body(VecInt4<16>{}) : body(VecInt4<32>{});
  }
}

}  // namespace gritstone::cuda
