// From values to places on paper, and where an axis is labelled.
#pragma once

#include <vector>

namespace gritstone {

// Values [low, high] onto [from, to] (to may be below from, as for a vertical axis). What is outside lands at the nearer end.
class AxisScale {
 public:
  // logarithmic: 0 < low. A range without extent is widened.
  AxisScale(double low, double high, double from, double to, bool logarithmic);
  double operator()(double value) const;
  double low() const noexcept { return low_; }
  double high() const noexcept { return high_; }

 private:
  double low_, high_, from_, to_;
  bool logarithmic_;
};

// Round values in [low, high], ascending, at most `most` (>= 2): multiples of 1, 2 or 5 times a power of ten; on a logarithmic axis 1, 2
// and 5 times powers of ten, or powers of ten alone where those are too many, or as linear where the range holds fewer than two.
std::vector<double> linear_ticks(double low, double high, int most);
std::vector<double> log_ticks(double low, double high, int most);

}  // namespace gritstone
