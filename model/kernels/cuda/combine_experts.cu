// The experts' outputs back into the residual stream: a weighted gather of `used` rows of two-byte values per row. The bytes are the cost:
// 268 MB of outputs and 134 MB of x at 8,192 rows, 8 experts and width 2,048, 0.14 ms at 3 TB/s. The norm of what comes out is made on the
// way: alone it would read x again, another 67 MB.
#include <algorithm>

#include "model/kernels/cuda/device.h"
#include "model/kernels/cuda/ops.h"
#include "model/kernels/cuda/warp.cuh"

namespace gritstone::cuda {
namespace {

constexpr std::uint32_t kColumns = 8;  // of a thread at a time: one 16-byte load from each output
constexpr std::uint32_t kBatch = 8;    // outputs whose loads are under way at once
constexpr std::uint32_t kMostThreads = 256;

__device__ inline float squares(float4 v) { return v.x * v.x + v.y * v.y + (v.z * v.z + v.w * v.w); }

// A block: one row. Which thread adds what depends on the width alone, so a row's result does not depend on its batch.
template <HalfType kType>
__global__ void __launch_bounds__(kMostThreads)
    combine_experts_kernel(const half_bits* y, const std::int32_t* pair_of_choice, const float* weights, std::uint32_t used,
                           std::uint32_t width, float* x, NextNorm next) {
  __shared__ float partial[kMostThreads / kWarp];
  let_next_start();
  wait_for_previous();
  float square = 0;
  const std::size_t choice = static_cast<std::size_t>(blockIdx.x) * used;
  for (std::uint32_t column = kColumns * threadIdx.x; column < width; column += kColumns * blockDim.x) {
    float sum[kColumns] = {};
    for (std::uint32_t begin = 0; begin < used; begin += kBatch) {
      uint4 words[kBatch];
      float weight[kBatch];
#pragma unroll
      for (std::uint32_t j = 0; j < kBatch; ++j) {
        const bool present = begin + j < used;
        const std::size_t pair = present ? static_cast<std::size_t>(pair_of_choice[choice + begin + j]) : 0;
        weight[j] = present ? weights[choice + begin + j] : 0.0f;
        words[j] = present ? load_once(y + pair * width + column) : make_uint4(0, 0, 0, 0);
      }
#pragma unroll
      for (std::uint32_t j = 0; j < kBatch; ++j) {
        const std::uint32_t w[4] = {words[j].x, words[j].y, words[j].z, words[j].w};
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const float2 values = unpack_half(w[i], kType);
          sum[2 * i] = fmaf(weight[j], values.x, sum[2 * i]);
          sum[2 * i + 1] = fmaf(weight[j], values.y, sum[2 * i + 1]);
        }
      }
    }
    float4* out = reinterpret_cast<float4*>(x + static_cast<std::size_t>(blockIdx.x) * width + column);
    const float4 a = out[0], b = out[1];
    const float4 first = make_float4(a.x + sum[0], a.y + sum[1], a.z + sum[2], a.w + sum[3]);
    const float4 second = make_float4(b.x + sum[4], b.y + sum[5], b.z + sum[6], b.w + sum[7]);
    out[0] = first;
    out[1] = second;
    square += squares(first) + squares(second);
  }
  if (next.weight == nullptr || blockIdx.x >= next.rows) return;

  square = warp_sum(square);
  if (threadIdx.x % kWarp == 0) partial[threadIdx.x / kWarp] = square;
  __syncthreads();
  square = 0;
  for (std::uint32_t i = 0; i < blockDim.x / kWarp; ++i) square += partial[i];
  const float scale = 1.0f / sqrtf(square / static_cast<float>(width) + next.eps);
  // A thread reads what it wrote itself, from the first-level cache.
  for (std::uint32_t column = kColumns * threadIdx.x; column < width; column += kColumns * blockDim.x) {
    const std::size_t at = static_cast<std::size_t>(blockIdx.x) * width + column;
    std::uint32_t words[4];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const float4 v = reinterpret_cast<const float4*>(x + at)[i], w = reinterpret_cast<const float4*>(next.weight + column)[i];
      words[2 * i] = pack_half(v.x * scale * w.x, v.y * scale * w.y, next.type);
      words[2 * i + 1] = pack_half(v.z * scale * w.z, v.w * scale * w.w, next.type);
    }
    *reinterpret_cast<uint4*>(next.out + at) = make_uint4(words[0], words[1], words[2], words[3]);
  }
}

}  // namespace

void combine_experts(Stream stream, const half_bits* y, HalfType type, const std::int32_t* pair_of_choice, const float* weights,
                     std::uint32_t rows, std::uint32_t used, std::uint32_t width, float* x, const NextNorm& next) {
  GS_CHECK(width % kColumns == 0);
  if (rows == 0) return;
  const std::size_t threads = std::min<std::size_t>(kMostThreads, ceil_div(width, kColumns * kWarp) * kWarp);
  launch_overlapped(type == HalfType::kF16 ? combine_experts_kernel<HalfType::kF16> : combine_experts_kernel<HalfType::kBF16>, dim3(rows),
                    dim3(static_cast<unsigned>(threads)), 0, stream, y, pair_of_choice, weights, used, width, x, next);
}

}  // namespace gritstone::cuda
