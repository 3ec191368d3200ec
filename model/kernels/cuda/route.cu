// The router of a mixture of experts: softmax and choice. A warp takes a row, so a batch is a few microseconds of shuffles.
#include "model/kernels/cuda/device.h"
#include "model/kernels/cuda/ops.h"
#include "model/kernels/cuda/warp.cuh"

namespace gritstone::cuda {
namespace {

constexpr std::uint32_t kMaxExperts = 256, kMaxUsed = 32;
constexpr int kPerLane = kMaxExperts / kWarp;  // expert e belongs to lane e % 32
constexpr int kRowsPerBlock = 4;

__global__ void __launch_bounds__(kRowsPerBlock* kWarp)
    route_kernel(float* logits, std::uint32_t rows, std::uint32_t experts, std::uint32_t used, bool normalise, std::int32_t* chosen,
                 float* weights) {
  const std::uint32_t lane = threadIdx.x % kWarp, row = blockIdx.x * kRowsPerBlock + threadIdx.x / kWarp;
  if (row >= rows) return;
  float* p = logits + static_cast<std::size_t>(row) * experts;
  float value[kPerLane];
  float top = -INFINITY;
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    const std::uint32_t expert = lane + kWarp * i;
    value[i] = expert < experts ? p[expert] : -INFINITY;
    top = fmaxf(top, value[i]);
  }
  top = warp_max(top);
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    value[i] = lane + kWarp * i < experts ? expf(value[i] - top) : 0.0f;
    sum += value[i];
  }
  sum = warp_sum(sum);

  // Probabilities order like their bits. Key 0: no such expert, or taken. One more than the bits, so that a probability of 0 is a choice.
  std::uint32_t key[kPerLane];
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    const std::uint32_t expert = lane + kWarp * i;
    value[i] /= sum;
    if (expert < experts) p[expert] = value[i];
    key[i] = expert < experts ? (__float_as_uint(value[i]) & 0x7FFFFFFFu) + 1 : 0;
  }
  std::int32_t my_choice = 0;  // lane j holds choice j
  float my_weight = 0, chosen_sum = 0;
  for (std::uint32_t j = 0; j < used; ++j) {
    std::uint32_t best = 0, best_expert = kMaxExperts;
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) {
      if (key[i] > best) {
        best = key[i];
        best_expert = lane + kWarp * i;
      }
    }
    const std::uint32_t most = __reduce_max_sync(kAllLanes, best);
    const std::uint32_t expert = __reduce_min_sync(kAllLanes, best == most ? best_expert : kMaxExperts);
    const float weight = __uint_as_float(most - 1);
    chosen_sum += weight;
    if (lane == j) {
      my_choice = static_cast<std::int32_t>(expert);
      my_weight = weight;
    }
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) {
      if (lane + kWarp * i == expert) key[i] = 0;
    }
  }
  if (lane < used) {
    const std::size_t at = static_cast<std::size_t>(row) * used + lane;
    chosen[at] = my_choice;
    weights[at] = normalise ? my_weight / chosen_sum : my_weight;
  }
}

}  // namespace

void route(Stream stream, float* logits, std::uint32_t rows, std::uint32_t experts, std::uint32_t used, bool normalise,
           std::int32_t* chosen, float* weights) {
  GS_CHECK(experts <= kMaxExperts && used <= kMaxUsed && used <= experts);
  if (rows == 0) return;
  launch(route_kernel, dim3(static_cast<unsigned>(ceil_div(rows, kRowsPerBlock))), dim3(kRowsPerBlock * kWarp), 0, stream, logits, rows,
         experts, used, normalise, chosen, weights);
}

}  // namespace gritstone::cuda
