// RMSNorm of rows. One read of x and one write: the bytes are the cost with many rows, the latency of the sum with few.
#include <algorithm>

#include "model/kernels/cuda/device.h"
#include "model/kernels/cuda/ops.h"
#include "model/kernels/cuda/warp.cuh"

namespace gritstone::cuda {
namespace {

constexpr int kMaxWarps = 8;

// A block: one row. The second look at it finds it in the first-level cache (8 KiB at width 2,048). Which thread adds what depends on the
// width alone, so a row's result does not depend on its batch.
__global__ void __launch_bounds__(kMaxWarps* kWarp)
    rms_norm_kernel(const float* x, const std::int32_t* index, std::uint32_t width, const float* weight, float eps, half_bits* out_half,
                    HalfType type, float* out_f32) {
  __shared__ float partial[kMaxWarps];
  let_next_start();
  wait_for_previous();
  const std::size_t from = index == nullptr ? blockIdx.x : static_cast<std::size_t>(index[blockIdx.x]);
  const float4* row = reinterpret_cast<const float4*>(x + from * width);
  const std::uint32_t fours = width / 4;
  float sum = 0;
#pragma unroll 2
  for (std::uint32_t i = threadIdx.x; i < fours; i += blockDim.x) {
    const float4 v = row[i];
    sum += v.x * v.x + v.y * v.y + (v.z * v.z + v.w * v.w);
  }
  sum = warp_sum(sum);
  if (threadIdx.x % kWarp == 0) partial[threadIdx.x / kWarp] = sum;
  __syncthreads();
  sum = 0;
  for (std::uint32_t i = 0; i < blockDim.x / kWarp; ++i) sum += partial[i];
  const float scale = 1.0f / sqrtf(sum / static_cast<float>(width) + eps);

#pragma unroll 2
  for (std::uint32_t i = threadIdx.x; i < fours; i += blockDim.x) {
    const float4 v = row[i], w = reinterpret_cast<const float4*>(weight)[i];
    const float4 y = make_float4(v.x * scale * w.x, v.y * scale * w.y, v.z * scale * w.z, v.w * scale * w.w);
    const std::size_t at = static_cast<std::size_t>(blockIdx.x) * fours + i;
    if (out_f32 != nullptr) reinterpret_cast<float4*>(out_f32)[at] = y;
    if (out_half != nullptr) reinterpret_cast<uint2*>(out_half)[at] = make_uint2(pack_half(y.x, y.y, type), pack_half(y.z, y.w, type));
  }
}

}  // namespace

void rms_norm(Stream stream, const float* x, const std::int32_t* index, std::uint32_t rows, std::uint32_t width, const float* weight,
              float eps, half_bits* out_half, HalfType type, float* out_f32) {
  GS_CHECK(width % 4 == 0);
  if (rows == 0) return;
  const std::size_t threads = std::min<std::size_t>(kMaxWarps * kWarp, ceil_div(width, 4 * kWarp) * kWarp);
  launch_overlapped(rms_norm_kernel, dim3(rows), dim3(static_cast<unsigned>(threads)), 0, stream, x, index, width, weight, eps, out_half,
                    type, out_f32);
}

}  // namespace gritstone::cuda
