#include "pipelines/report_statistics.h"

#include <algorithm>
#include <numeric>
#include <random>

#include "pipelines/statistics.h"

namespace gritstone {

Interval bootstrap_mean(std::span<const double> values, std::size_t resamples, std::uint64_t seed) {
  Interval interval;
  if (values.empty()) return interval;
  interval.value = mean_of(values);
  std::mt19937_64 random(seed);
  std::vector<double> means(resamples);
  for (double& mean : means) {
    double sum = 0;
    for (std::size_t i = 0; i < values.size(); ++i) sum += values[random() % values.size()];
    mean = sum / static_cast<double>(values.size());
  }
  interval.lower = quantile(means, 0.025);
  interval.upper = quantile(std::move(means), 0.975);
  return interval;
}

std::vector<CdfStep> empirical_cdf(std::vector<double> values) {
  std::ranges::sort(values);
  std::vector<CdfStep> steps;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i + 1 < values.size() && values[i + 1] == values[i]) continue;
    steps.push_back({values[i], static_cast<double>(i + 1) / static_cast<double>(values.size())});
  }
  return steps;
}

std::vector<std::size_t> pareto_front(std::span<const std::pair<double, double>> points) {
  std::vector<std::size_t> front;
  for (std::size_t i = 0; i < points.size(); ++i) {
    const auto& [cost, gain] = points[i];
    const bool beaten = std::ranges::any_of(points, [&](const std::pair<double, double>& other) {
      return other.first <= cost && other.second >= gain && (other.first < cost || other.second > gain);
    });
    if (!beaten) front.push_back(i);
  }
  std::ranges::stable_sort(front, {}, [&](std::size_t i) { return points[i].first; });
  return front;
}

}  // namespace gritstone
