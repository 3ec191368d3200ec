#include "pipelines/report_text.h"

#include <cmath>
#include <cstdio>

namespace gritstone {
namespace {

// Digits in groups of three before the point.
std::string grouped(std::string text) {
  const std::size_t first = !text.empty() && text[0] == '-' ? 1 : 0;
  std::size_t at = std::min(text.find('.'), text.size());
  for (; at > first + 3; at -= 3) text.insert(at - 3, ",");
  return text;
}

}  // namespace

std::string fixed(double value, int digits) {
  if (!std::isfinite(value)) return "-";
  char buffer[400];
  const int n = std::snprintf(buffer, sizeof(buffer), "%.*f", digits, value);
  std::string text(buffer, static_cast<std::size_t>(n));
  // "-0.00" is no number that people write.
  if (text.find_first_not_of("-0.") == std::string::npos && text[0] == '-') text.erase(0, 1);
  return text;
}

std::string signed_fixed(double value, int digits) {
  std::string text = grouped(fixed(value, digits));
  if (text.find_first_of("123456789") == std::string::npos) return text;
  std::string sign = text[0] == '-' ? "\u2212" : "+";
  return sign.append(text, text[0] == '-' ? 1 : 0);
}

std::string milliseconds(double ms) {
  const double size = std::abs(ms);
  return grouped(fixed(ms, size >= 100 || size == 0 ? 0 : size >= 1 ? 1 : 2));
}

std::string count_text(std::size_t count) { return grouped(std::to_string(count)); }

std::string percent(double share, int digits) { return fixed(100 * share, digits) + " %"; }

std::string range_text(std::optional<double> lower, std::optional<double> upper, int digits) {
  const auto end = [digits](const std::optional<double>& bound) { return bound ? grouped(fixed(*bound, digits)) : std::string("?"); };
  std::string text = "[";
  return text.append(end(lower)).append(", ").append(end(upper)).append("]");
}

std::string plural(std::size_t count, std::string_view one, std::string_view many) {
  return count_text(count) + " " + std::string(count == 1 ? one : many);
}

}  // namespace gritstone
