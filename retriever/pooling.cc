#include "retriever/pooling.h"

#include <algorithm>
#include <cmath>

namespace gritstone {
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
