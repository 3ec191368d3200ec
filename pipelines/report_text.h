// Numbers and words as the report prints them.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "pipelines/report_statistics.h"

namespace gritstone {

std::string fixed(double value, int digits);         // "0.412"; "-" where it is not finite
std::string signed_fixed(double value, int digits);  // "+0.012", "−0.012" (with a minus sign), "0.000"
std::string milliseconds(double ms);                 // "0.42", "8.3", "812", "12,345"
std::string count_text(std::size_t count);           // "12,345"
std::string percent(double share, int digits = 0);   // "33 %"
std::string range_text(std::optional<double> lower, std::optional<double> upper,
                       int digits);                                                  // "[0.31, 0.52]", "?" for an end without bound
std::string plural(std::size_t count, std::string_view one, std::string_view many);  // "1 question", "3 questions"

}  // namespace gritstone
