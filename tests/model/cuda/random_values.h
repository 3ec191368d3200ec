// Inputs for tests of kernels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "model/dtype.h"
#include "model/kernels/cuda/ops.h"

namespace gritstone::cuda {

// Normally distributed.
inline std::vector<float> random_values(std::uint32_t seed, std::size_t count) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& v : values) v = normal(generator);
  return values;
}

// Uniform in [0, limit).
inline std::vector<std::int32_t> random_indices(std::uint32_t seed, std::size_t count, std::int32_t limit) {
  std::mt19937 generator(seed);
  std::uniform_int_distribution<std::int32_t> uniform(0, limit - 1);
  std::vector<std::int32_t> values(count);
  for (std::int32_t& v : values) v = uniform(generator);
  return values;
}

inline half_bits to_half(float value, HalfType type) { return type == HalfType::kF16 ? f32_to_f16(value) : f32_to_bf16(value); }
inline float from_half(half_bits bits, HalfType type) { return type == HalfType::kF16 ? f16_to_f32(bits) : bf16_to_f32(bits); }

// Values of which `type` loses nothing.
inline std::vector<float> random_halves(std::uint32_t seed, std::size_t count, HalfType type) {
  std::vector<float> values = random_values(seed, count);
  for (float& v : values) v = from_half(to_half(v, type), type);
  return values;
}

}  // namespace gritstone::cuda
