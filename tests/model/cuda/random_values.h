// Inputs for tests of kernels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

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

}  // namespace gritstone::cuda
