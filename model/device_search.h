// Exact inner-product search over vectors that stay on a GPU.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

namespace gritstone {

class DeviceSearch {
 public:
  struct Hit {
    std::size_t row = 0;
    float score = 0;
  };
  static constexpr std::size_t kMostHits = 256;

  virtual ~DeviceSearch() = default;

  // The k rows with the largest inner product with the query, which is rounded to f16 (sums are f32), best first, ties by the lower row;
  // fewer if there are fewer. REQUIRES: 1 <= k <= kMostHits. Thread-safe. Throws Error(kDevice).
  virtual std::vector<Hit> search(std::span<const float> query, std::size_t k) = 0;
};

// rows [n, dim], kept as f16: exact if they were f16 before. dim: a multiple of 8.
// Throws Error: kMemoryBudget (the GPU has no room for them and some to spare); kDevice; kInvalidArgument (this build has no CUDA backend,
// or another dim).
std::unique_ptr<DeviceSearch> make_device_search(std::span<const float> rows, std::size_t dim);

}  // namespace gritstone
