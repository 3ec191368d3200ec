// RMSNorm, the router's product, softmax and choice in one kernel: between attention and the experts a row is read from memory once.
//
// 33.5 MB in and 16.8 MB out at 4,096 rows of 2,048 columns are 17 us at 3 TB/s. Every block reads the whole router (512 KiB of f32 for 64
// experts), from the second-level cache: 67 MB at 32 rows a block. It takes 36 us on an H100, where 46 % of its samples wait for loads
// (ncu): with one block of eight warps a multiprocessor too few are under way.
#include "model/kernels/cuda/device.h"
#include "model/kernels/cuda/ops.h"
#include "model/kernels/cuda/route_choice.cuh"
#include "model/kernels/cuda/warp.cuh"

namespace gritstone::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kThreads = kWarps * kWarp;
constexpr std::uint32_t kStep = 16;                // columns of a product of the tensor cores
constexpr std::uint32_t kNormColumns = 4 * kWarp;  // a warp's float4
constexpr std::uint32_t kBatch = 4;                // of kNormColumns, whose loads are under way at once

struct Work {
  const float* x;
  const float* norm_weight;
  const float* router;
  std::uint32_t rows, width, experts;
  float eps;
  half_bits* out_half;
  HalfType type;
  Routing routing;
};

// Two f32 as bf16 pairs, high + low = the value but for 2^-17 of it.
struct Split {
  std::uint32_t high, low;
};
__device__ inline Split split(float a, float b) {
  const std::uint32_t high = pack_bf16(a, b);
  return {high, pack_bf16(a - bf16_low(high), b - bf16_high(high))};
}

// Shared memory: every warp's sums, rows padded so that eight bytes of four rows meet different banks; the warps' sums of squares.
template <int kTiles, int kExpertTiles>
struct Layout {
  static constexpr int kRows = 16 * kTiles;
  static constexpr int kRow = 8 * kExpertTiles + 8;
  static constexpr int kSums = kWarps * kRows * kRow;
  static constexpr std::size_t kBytes = (kSums + kWarps * kRows) * sizeof(float);
};

// What a lane needs for a step of 16 columns: columns 4 (lane % 4) on of rows lane / 4 + 8 i. The tensor core's columns are in an order of
// their own, the same for both sides: its 2t, 2t + 1, 2t + 8, 2t + 9 are the four that lie side by side in memory.
template <int kTiles, int kExpertTiles>
struct Operands {
  float4 weights[kExpertTiles];
  float4 x[2 * kTiles];
  float4 norm;
};

__device__ inline float4 load4(const float* p) { return *reinterpret_cast<const float4*>(p); }

// A block: 16 kTiles rows. Its warps share out the columns, so that each product's operands go from memory to the registers of the one warp
// that needs them; the warps' sums meet at the end. kSteps steps' loads are under way while the steps before are multiplied.
template <int kTiles, int kExpertTiles, int kSteps>
__global__ void __launch_bounds__(kThreads, 1) norm_route_kernel(Work work) {
  using Shared = Layout<kTiles, kExpertTiles>;
  constexpr int kRows = Shared::kRows;
  let_next_start();
  GS_DYNAMIC_SHARED(memory);
  float* const partial = reinterpret_cast<float*>(memory);
  float* const squares = partial + Shared::kSums;
  const std::uint32_t lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, group = lane / 4, quad = lane % 4;
  const std::uint32_t row0 = blockIdx.x * kRows, width = work.width;

  // Rows and experts that do not exist are read as the last, and their sums are thrown away.
  std::uint32_t weight_at[kExpertTiles], x_at[2 * kTiles];
#pragma unroll
  for (int n = 0; n < kExpertTiles; ++n) weight_at[n] = min(8 * n + group, work.experts - 1) * width + 4 * quad;
#pragma unroll
  for (int i = 0; i < 2 * kTiles; ++i) x_at[i] = (min(row0 + 8 * i + group, work.rows - 1) - row0) * width + 4 * quad;
  const float* const x = work.x + static_cast<std::size_t>(row0) * width;

  using Step = Operands<kTiles, kExpertTiles>;
  const auto load_weights = [&](Step(&to)[kSteps], std::uint32_t column) {
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      const std::uint32_t c = column + kStep * s;
      to[s].norm = load4(work.norm_weight + c + 4 * quad);
#pragma unroll
      for (int n = 0; n < kExpertTiles; ++n) to[s].weights[n] = load_common(work.router + weight_at[n] + c);
    }
  };
  const auto load_rows = [&](Step(&to)[kSteps], std::uint32_t column) {
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
#pragma unroll
      for (int i = 0; i < 2 * kTiles; ++i) to[s].x[i] = load4(x + x_at[i] + column + kStep * s);
    }
  };

  float sums[kTiles][kExpertTiles][4] = {}, square[2 * kTiles] = {};
  const auto multiply = [&](const Step& step) {
    std::uint32_t high[kTiles][4], low[kTiles][4];
#pragma unroll
    for (int i = 0; i < 2 * kTiles; ++i) {
      const float4 v = step.x[i], w = step.norm;
      square[i] += v.x * v.x + v.y * v.y + (v.z * v.z + v.w * v.w);
      const Split first = split(v.x * w.x, v.y * w.y), second = split(v.z * w.z, v.w * w.w);
      high[i / 2][i % 2] = first.high;
      high[i / 2][i % 2 + 2] = second.high;
      low[i / 2][i % 2] = first.low;
      low[i / 2][i % 2 + 2] = second.low;
    }
    // Two columns of fragments at a time: products of one sum wait for each other.
#pragma unroll
    for (int n = 0; n < kExpertTiles; n += 2) {
      std::uint32_t weight_high[2][2], weight_low[2][2];
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const float4 w = step.weights[n + j];
        const Split first = split(w.x, w.y), second = split(w.z, w.w);
        weight_high[j][0] = first.high, weight_high[j][1] = second.high;
        weight_low[j][0] = first.low, weight_low[j][1] = second.low;
      }
#pragma unroll
      for (int product = 0; product < 3; ++product) {
#pragma unroll
        for (int m = 0; m < kTiles; ++m) {
#pragma unroll
          for (int j = 0; j < 2; ++j) {
            mma_bf16(sums[m][n + j], product == 0 ? low[m] : high[m], product == 1 ? weight_low[j] : weight_high[j]);
          }
        }
      }
    }
  };

  constexpr std::uint32_t kColumns = kStep * kSteps;
  Step now[kSteps], next[kSteps];
  std::uint32_t column = warp * kColumns;
  if (column < width) load_weights(now, column);
  wait_for_previous();
  if (column < width) load_rows(now, column);
  while (column < width) {
    const std::uint32_t following = column + kWarps * kColumns;
    if (following < width) {
      load_weights(next, following);
      load_rows(next, following);
    }
#pragma unroll
    for (int s = 0; s < kSteps; ++s) multiply(now[s]);
#pragma unroll
    for (int s = 0; s < kSteps; ++s) now[s] = next[s];
    column = following;
  }

#pragma unroll
  for (int i = 0; i < 2 * kTiles; ++i) {
    const std::uint32_t row = 8 * i + group;
    square[i] += __shfl_xor_sync(kAllLanes, square[i], 1);
    square[i] += __shfl_xor_sync(kAllLanes, square[i], 2);
    if (quad == 0) squares[warp * kRows + row] = square[i];
#pragma unroll
    for (int n = 0; n < kExpertTiles; ++n) {
      *reinterpret_cast<float2*>(partial + (warp * kRows + row) * Shared::kRow + 8 * n + 2 * quad) =
          make_float2(sums[i / 2][n][i % 2 * 2], sums[i / 2][n][i % 2 * 2 + 1]);
    }
  }
  __syncthreads();

  // Row warp + kWarps i is the warp's, for its choice and for its normed values.
  constexpr int kOwn = kRows / kWarps;
  float scale[kOwn];
#pragma unroll
  for (int i = 0; i < kOwn; ++i) {
    float sum = 0;
#pragma unroll
    for (int from = 0; from < kWarps; ++from) sum += squares[from * kRows + warp + kWarps * i];
    scale[i] = 1.0f / sqrtf(sum / static_cast<float>(width) + work.eps);
  }
  // From the last columns to the first: those were read last, and the first-level cache still has most of them.
  for (std::uint32_t left = (width + kNormColumns - 1) / kNormColumns; left > 0; left -= min(left, kBatch)) {
    float4 v[kBatch][kOwn];
#pragma unroll
    for (std::uint32_t b = 0; b < kBatch; ++b) {
      const std::uint32_t at = (left - 1 - b) * kNormColumns + 4 * lane;
      if (left <= b || at >= width) continue;
#pragma unroll
      for (int i = 0; i < kOwn; ++i) v[b][i] = load4(x + (min(row0 + warp + kWarps * i, work.rows - 1) - row0) * width + at);
    }
#pragma unroll
    for (std::uint32_t b = 0; b < kBatch; ++b) {
      const std::uint32_t at = (left - 1 - b) * kNormColumns + 4 * lane;
      if (left <= b || at >= width) continue;
      const float4 w = load4(work.norm_weight + at);
#pragma unroll
      for (int i = 0; i < kOwn; ++i) {
        const std::size_t row = row0 + warp + kWarps * i;
        if (row >= work.rows) continue;
        const float4 y = v[b][i];
        *reinterpret_cast<uint2*>(work.out_half + row * width + at) =
            make_uint2(pack_half(y.x * scale[i] * w.x, y.y * scale[i] * w.y, work.type),
                       pack_half(y.z * scale[i] * w.z, y.w * scale[i] * w.w, work.type));
      }
    }
  }
  constexpr int kPerLane = (8 * kExpertTiles + kWarp - 1) / kWarp;
#pragma unroll
  for (int i = 0; i < kOwn; ++i) {
    const std::size_t row = row0 + warp + kWarps * i;
    if (row >= work.rows) continue;
    float value[kPerLane] = {};
#pragma unroll
    for (int e = 0; e < kPerLane; ++e) {
      const std::uint32_t expert = lane + kWarp * e;
      if (expert >= work.experts) continue;
#pragma unroll
      for (int from = 0; from < kWarps; ++from) value[e] += partial[(from * kRows + warp + kWarps * i) * Shared::kRow + expert];
      value[e] *= scale[i];
    }
    const Routing& routing = work.routing;
    choose_experts(value, work.experts, routing.used, routing.normalise,
                   routing.probabilities != nullptr ? routing.probabilities + row * work.experts : nullptr,
                   routing.chosen + row * routing.used, routing.weights + row * routing.used);
  }
}

template <int kTiles, int kExpertTiles, int kSteps>
void launch_norm_route(Stream stream, const Work& work) {
  using Shared = Layout<kTiles, kExpertTiles>;
  launch_overlapped(norm_route_kernel<kTiles, kExpertTiles, kSteps>, dim3(static_cast<unsigned>(ceil_div(work.rows, Shared::kRows))),
                    dim3(kThreads), Shared::kBytes, stream, work);
}

}  // namespace

void norm_route(Stream stream, const float* x, std::uint32_t rows, const float* norm_weight, float eps, const DeviceMatrix& router,
                const Routing& routing, half_bits* out_half, HalfType type) {
  GS_CHECK(norm_route_takes(router) && routing.used <= kMostUsed && routing.used <= router.rows);
  if (rows == 0) return;
  const Work work{x, norm_weight, static_cast<const float*>(router.values), rows, router.cols, router.rows, eps, out_half, type, routing};
  // Sixteen rows a block read the router twice as often as 32 do, but as long as every block has a multiprocessor, less has to be waited
  // for.
  const bool few = ceil_div(rows, 16) <= static_cast<std::size_t>(device_properties().multiProcessorCount);
  if (router.rows <= 16) return few ? launch_norm_route<1, 2, 2>(stream, work) : launch_norm_route<2, 2, 2>(stream, work);
  return few ? launch_norm_route<1, 8, 2>(stream, work) : launch_norm_route<2, 8, 1>(stream, work);
}

}  // namespace gritstone::cuda
