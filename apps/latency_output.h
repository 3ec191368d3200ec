// What `eval latency` prints.
#pragma once

#include <optional>
#include <string>

#include "pipelines/eval_latency.h"
#include "pipelines/latency_summary.h"
#include "pipelines/load_generator.h"

namespace gritstone {

struct LoadDescription {
  std::optional<ArrivalOptions> arrivals;  // open loop; absent: closed
  std::size_t parallel = 1;                // connections, or clients
  std::string cache;
  std::string url;  // empty: this process
  std::string slo;  // as it was given
};

// What answering cost: of this process, or of a service as far as it says. Sums so far, or those of a run; memory is as it is.
struct LoadCost {
  std::optional<double> cpu_seconds, read_mib;
  std::optional<double> peak_mib;  // of the process's whole life
  std::optional<double> rss_mib;   // now
  std::optional<double> joules;
};
LoadCost load_cost(const ProcessUsage& usage);
LoadCost cost_between(const LoadCost& before, const LoadCost& after);

void print_latency_json(const LoadDescription& load, const LatencySummary& summary, const LoadCost& cost);
void print_latency(const LoadDescription& load, const LatencySummary& summary, const LoadCost& cost);

}  // namespace gritstone
