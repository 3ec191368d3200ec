#include "pipelines/report_axes.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace gritstone {

AxisScale::AxisScale(double low, double high, double from, double to, bool logarithmic)
    : low_(low), high_(high), from_(from), to_(to), logarithmic_(logarithmic) {
  if (high_ > low_) return;
  // One value: it lies in the middle.
  const double around = low;
  low_ = logarithmic ? around / 2 : around - 0.5;
  high_ = logarithmic ? around * 2 : around + 0.5;
}

double AxisScale::operator()(double value) const {
  const double inside = std::clamp(value, low_, high_);
  const double share = logarithmic_ ? std::log(inside / low_) / std::log(high_ / low_) : (inside - low_) / (high_ - low_);
  return from_ + share * (to_ - from_);
}

std::vector<double> linear_ticks(double low, double high, int most) {
  if (!(high > low)) return {low};
  const double power = std::pow(10, std::floor(std::log10(high - low)) - 2);
  for (double decade = power;; decade *= 10) {
    for (const double factor : {1.0, 2.0, 5.0}) {
      const double step = factor * decade;
      const double first = std::ceil(low / step - 1e-9), last = std::floor(high / step + 1e-9);
      if (last - first + 1 > most) continue;
      std::vector<double> ticks;
      for (double i = first; i <= last; ++i) ticks.push_back(i * step);
      return ticks;
    }
  }
}

std::vector<double> log_ticks(double low, double high, int most) {
  const auto between = [&](std::initializer_list<double> factors) {
    std::vector<double> ticks;
    for (double decade = std::pow(10, std::floor(std::log10(low))); decade <= high; decade *= 10) {
      for (const double factor : factors) {
        const double tick = factor * decade;
        if (tick >= low * (1 - 1e-9) && tick <= high * (1 + 1e-9)) ticks.push_back(tick);
      }
    }
    return ticks;
  };
  std::vector<double> ticks = between({1, 2, 5});
  if (ticks.size() > static_cast<std::size_t>(most)) ticks = between({1});
  if (ticks.size() > static_cast<std::size_t>(most)) {
    const std::size_t step = (ticks.size() + static_cast<std::size_t>(most) - 1) / static_cast<std::size_t>(most);
    for (std::size_t i = 0; i * step < ticks.size(); ++i) ticks[i] = ticks[i * step];
    ticks.resize((ticks.size() + step - 1) / step);
  }
  // Between 600 and 900 there is none of them.
  if (ticks.size() < 2) ticks = linear_ticks(low, high, most);
  return ticks;
}

}  // namespace gritstone
