// What the report computes beside means: intervals, distribution functions, the front of what nothing beats.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace gritstone {

struct Interval {
  double value = 0, lower = 0, upper = 0;
};

// The mean, and its 95 % interval from the percentiles of the bootstrap (Efron 1979). Seeded: the same values give the same interval. No
// values: all 0.
Interval bootstrap_mean(std::span<const double> values, std::size_t resamples = 10000, std::uint64_t seed = 1);

struct CdfStep {
  double value = 0;
  double share = 0;  // of the values that are at most `value`
};
// The empirical distribution function: one step per distinct value, ascending; the last share is 1.
std::vector<CdfStep> empirical_cdf(std::vector<double> values);

// Places of the points that no other beats: none costs at most as much and gains at least as much, one of both strictly. By cost ascending;
// of equal points all stay.
//   points  (cost, gain)
std::vector<std::size_t> pareto_front(std::span<const std::pair<double, double>> points);

}  // namespace gritstone
