// How far what a device computed is from what it should be.
#pragma once

#include <cmath>
#include <cstddef>
#include <vector>

namespace gritstone::cuda {

// |a - b| over |b|, of whole vectors; NaN in either gives NaN.
inline double distance(const std::vector<float>& a, const std::vector<double>& b) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    difference += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
    norm += b[i] * b[i];
  }
  return std::sqrt(difference / norm);
}

}  // namespace gritstone::cuda
