#include "pipelines/statistics.h"

#include <algorithm>
#include <cmath>

namespace gritstone {

double upper_bound_95(std::size_t hits, std::size_t n) {
  if (hits >= n) return 1.0;
  // The rate at which so few hits would be seen in one of twenty runs: P(X <= hits) = 0.05, which falls in the rate.
  const auto at_most = [&](double rate) {
    double sum = 0, log_choose = 0;
    for (std::size_t k = 0; k <= hits; ++k) {
      if (k > 0) log_choose += std::log(static_cast<double>(n - k + 1)) - std::log(static_cast<double>(k));
      sum += std::exp(log_choose + static_cast<double>(k) * std::log(rate) + static_cast<double>(n - k) * std::log1p(-rate));
    }
    return sum;
  };
  double low = 1e-12, high = 1.0 - 1e-12;
  for (int i = 0; i < 100; ++i) {
    const double middle = (low + high) / 2;
    (at_most(middle) > 0.05 ? low : high) = middle;
  }
  return high;
}

double lower_bound_95(std::size_t hits, std::size_t n) { return n == 0 ? 0 : 1 - upper_bound_95(n - hits, n); }

double quantile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  const double at = share * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (at - static_cast<double>(below)) * (values[above] - values[below]);
}

double mean_of(std::span<const double> values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

}  // namespace gritstone
