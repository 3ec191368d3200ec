#include "retriever/pooling.h"

#include <algorithm>
#include <cmath>

namespace gritstone {
namespace {

template <typename Weight>
void pool(MatrixView<const float> states, std::size_t first, std::size_t count, std::span<float> out, Weight weight) noexcept {
  double total = 0;
  for (std::size_t t = 0; t < count; ++t) total += weight(t);
  // Column by column would miss the cache; blocks of columns keep the double sums on the stack.
  constexpr std::size_t kBlock = 256;
  double sums[kBlock];
  for (std::size_t c = 0; c < out.size(); c += kBlock) {
    const std::size_t width = std::min(kBlock, out.size() - c);
    std::fill_n(sums, width, 0.0);
    for (std::size_t t = 0; t < count; ++t) {
      const float* row = states.data + (first + t) * states.stride + c;
      const double w = weight(t);
      for (std::size_t i = 0; i < width; ++i) sums[i] += w * static_cast<double>(row[i]);
    }
    for (std::size_t i = 0; i < width; ++i) out[c + i] = static_cast<float>(sums[i] / total);
  }
}

}  // namespace

void pool_mean(MatrixView<const float> states, std::size_t first, std::size_t count, std::span<float> out) noexcept {
  pool(states, first, count, out, [](std::size_t) { return 1.0; });
}

void pool_weighted_mean(MatrixView<const float> states, std::size_t first, std::size_t count, std::span<float> out) noexcept {
  pool(states, first, count, out, [](std::size_t t) { return static_cast<double>(t + 1); });
}

void gather_routing(std::span<const std::vector<float>> router, std::size_t experts, std::size_t token, std::span<float> out) noexcept {
  for (std::size_t layer = 0; layer < router.size(); ++layer) {
    const float* row = router[layer].data() + token * experts;
    std::copy(row, row + experts, out.data() + layer * experts);
  }
}

bool normalise_l2(std::span<float> row) noexcept {
  const double norm = std::sqrt(dot(row, row));
  if (!std::isfinite(norm) || norm < 1e-12) return false;
  for (float& x : row) x = static_cast<float>(static_cast<double>(x) / norm);
  return true;
}

double dot(std::span<const float> a, std::span<const float> b) noexcept {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

}  // namespace gritstone
