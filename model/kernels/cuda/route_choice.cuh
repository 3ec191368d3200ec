// The router's choice for one row by one warp: softmax, the largest probabilities, their weights.
#pragma once

#include <cmath>
#include <cstdint>

#include "model/kernels/cuda/warp.cuh"

namespace gritstone::cuda {

inline constexpr std::uint32_t kMostExperts = 256, kMostUsed = 32;

// value[i]: the row's logit of expert lane + 32 i (those from `experts` on are not looked at). probabilities [experts] (may be null),
// chosen [used] and weights [used] are the row's, as in Routing; used <= min(experts, kMostUsed). All lanes of the warp call.
template <int kPerLane>
__device__ inline void choose_experts(float (&value)[kPerLane], std::uint32_t experts, std::uint32_t used, bool normalise,
                                      float* probabilities, std::int32_t* chosen, float* weights) {
  const std::uint32_t lane = threadIdx.x % kWarp;
  float top = -INFINITY;
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    if (lane + kWarp * i < experts) top = fmaxf(top, value[i]);
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
    if (expert < experts && probabilities != nullptr) probabilities[expert] = value[i];
    key[i] = expert < experts ? (__float_as_uint(value[i]) & 0x7FFFFFFFu) + 1 : 0;
  }
  std::int32_t my_choice = 0;  // lane j holds choice j
  float my_weight = 0, chosen_sum = 0;
  for (std::uint32_t j = 0; j < used; ++j) {
    std::uint32_t best = 0, best_expert = kMostExperts;
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) {
      if (key[i] > best) {
        best = key[i];
        best_expert = lane + kWarp * i;
      }
    }
    const std::uint32_t most = __reduce_max_sync(kAllLanes, best);
    const std::uint32_t expert = __reduce_min_sync(kAllLanes, best == most ? best_expert : kMostExperts);
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
    chosen[lane] = my_choice;
    weights[lane] = normalise ? my_weight / chosen_sum : my_weight;
  }
}

}  // namespace gritstone::cuda
