// Times of work on a GPU and data to work on, for the benchmarks of the CUDA backend.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "model/dtype.h"
#include "model/kernels/cuda/device.h"

namespace gritstone::bench {

using cuda::check;
using cuda::DeviceBuffer;

inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Milliseconds of `work` on the default stream, the median of `rounds` after one warm-up.
template <typename Work>
double device_ms(std::size_t rounds, Work&& work) {
  cudaEvent_t begin, end;
  check(cudaEventCreate(&begin), "event");
  check(cudaEventCreate(&end), "event");
  work();
  std::vector<double> times;
  for (std::size_t i = 0; i < rounds; ++i) {
    check(cudaEventRecord(begin, nullptr), "event");
    work();
    check(cudaEventRecord(end, nullptr), "event");
    check(cudaEventSynchronize(end), "event");
    float ms = 0;
    check(cudaEventElapsedTime(&ms, begin, end), "event");
    times.push_back(ms);
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  return median(times);
}

// Random bf16 or f16 bits of values in (-2, 2): a block of 64 MiB, repeated.
inline DeviceBuffer random_halves(std::size_t count, bool bf16) {
  constexpr std::size_t kBlock = std::size_t{32} << 20;
  std::mt19937_64 random(3);
  std::vector<std::uint16_t> block(std::min(count, kBlock));
  for (std::size_t i = 0; i < block.size(); i += 4) {
    std::uint64_t bits = random();
    for (std::size_t j = i; j < std::min(i + 4, block.size()); ++j, bits >>= 16) {
      const float value = static_cast<float>(bits & 0xFFFF) / 16384.0f - 2.0f;
      block[j] = bf16 ? f32_to_bf16(value) : f32_to_f16(value);
    }
  }
  DeviceBuffer buffer(count * 2);
  for (std::size_t done = 0; done < count; done += block.size()) {
    check(cudaMemcpy(buffer.as<std::uint16_t>() + done, block.data(), std::min(block.size(), count - done) * 2, cudaMemcpyHostToDevice),
          "fill");
  }
  return buffer;
}

}  // namespace gritstone::bench
