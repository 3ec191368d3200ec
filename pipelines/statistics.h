// Small statistics that evaluation and certificates share.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace gritstone {

// Ends of the one-sided 95 % interval of a rate of which `hits` of n were seen (Clopper and Pearson 1934). n = 0: 1 and 0.
double upper_bound_95(std::size_t hits, std::size_t n);
double lower_bound_95(std::size_t hits, std::size_t n);

// Linear interpolation between the order statistics, as numpy's default; `share` in [0, 1]. 0 for no values.
double quantile(std::vector<double> values, double share);
double mean_of(std::span<const double> values);  // 0 for no values

}  // namespace gritstone
