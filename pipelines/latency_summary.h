// Percentiles of a load run, with what they are worth.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "pipelines/load_generator.h"

namespace gritstone {

struct Percentile {
  double share = 0;  // 0.95
  double value = 0;
  // 95 % interval from order statistics (binomial, no assumption about the distribution); absent where n is too small for one.
  std::optional<double> lower, upper;
};

struct Distribution {
  std::size_t n = 0;
  double mean = 0, deviation = 0, smallest = 0, largest = 0;
  // p50, p90, p95, and p99 if n >= kP99Samples. Linear interpolation between order statistics, as numpy does.
  std::vector<Percentile> percentiles;
};

// 0.99^662 = 0.0013: with fewer samples even the largest lies below the true percentile more often than a three-sigma event happens.
inline constexpr std::size_t kP99Samples = 662;

Distribution distribution_of(std::vector<double> values);

// Upper limits; a request that keeps all of those that are set is good.
struct Slo {
  std::optional<double> ttft_ms, tpot_ms, e2e_ms;
};
// "ttft:500,tpot:80,e2e:5000". Throws Error(kInvalidArgument).
Slo parse_slo(const std::string& text);

struct LatencySummary {
  std::size_t requests = 0, completed = 0, failed = 0;
  std::map<std::string, std::size_t> errors;  // by message
  double seconds = 0;                         // from the first due time to the last end
  double requests_per_second = 0;             // completed
  double tokens_per_second = 0;
  double goodput = 0;  // good requests a second
  double good_share = 0;
  Distribution wait_ms;  // from due to begun
  Distribution ttft_ms;  // from due to the first token; answers without one are left out
  Distribution tpot_ms;  // (e2e - ttft) / (tokens - 1)
  Distribution itl_ms;   // between pieces of text, of all requests
  Distribution e2e_ms;   // from due to the end
  std::map<std::string, Distribution> stages;
};

// Failures are counted apart and enter no distribution.
LatencySummary summarise_latency(const std::vector<RequestRecord>& records, const Slo& slo);

}  // namespace gritstone
