#include "apps/latency_output.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "apps/json_output.h"
#include "apps/terminal.h"

namespace gritstone {
namespace {

void optional_field(JsonOutput& json, std::string_view name, const std::optional<double>& value) {
  json.key(name);
  value ? json.value(*value) : json.null();
}

void distribution_json(JsonOutput& json, const std::string& name, const Distribution& d) {
  json.begin_object(name).field("n", d.n).field("mean", d.mean).field("sd", d.deviation).field("min", d.smallest).field("max", d.largest);
  for (const Percentile& p : d.percentiles) {
    json.begin_object(format("p%g", 100 * p.share)).field("value", p.value);
    for (const auto& [key, bound] : {std::pair{"lower", p.lower}, {"upper", p.upper}}) {
      json.key(key);
      bound ? json.value(*bound) : json.null();
    }
    json.end_object();
  }
  json.end_object();
}

void print_distribution(const std::string& name, const Distribution& d) {
  if (d.n == 0) return;
  std::string line = format("%-12s %6zu %9.1f", name.c_str(), d.n, d.mean);
  for (const double share : {0.5, 0.9, 0.95, 0.99}) {
    const auto p = std::ranges::find(d.percentiles, share, &Percentile::share);
    if (p == d.percentiles.end()) {
      line += format("  %-26s", "-");
      continue;
    }
    const std::string low = p->lower ? format("%.0f", *p->lower) : "?", high = p->upper ? format("%.0f", *p->upper) : "?";
    line += format("  %-26s", format("%.1f [%s, %s]", p->value, low.c_str(), high.c_str()).c_str());
  }
  print_out(line.substr(0, line.find_last_not_of(' ') + 1) + "\n");
}

}  // namespace

LoadCost load_cost(const ProcessUsage& usage) {
  return {usage.cpu_seconds, static_cast<double>(usage.read_bytes) / (1 << 20), static_cast<double>(usage.peak_rss) / (1 << 20),
          std::nullopt, usage.joules};
}

LoadCost cost_between(const LoadCost& before, const LoadCost& after) {
  LoadCost cost = after;  // memory is not a difference
  for (std::optional<double> LoadCost::*sum : {&LoadCost::cpu_seconds, &LoadCost::read_mib, &LoadCost::joules}) {
    // A counter that fell wrapped around, or its process was started anew.
    cost.*sum = before.*sum && after.*sum && *(after.*sum) >= *(before.*sum) ? std::optional(*(after.*sum) - *(before.*sum)) : std::nullopt;
  }
  return cost;
}

void print_latency_json(const LoadDescription& load, const LatencySummary& s, const LoadCost& cost) {
  JsonOutput json;
  json.begin_object().begin_object("load").field("kind", load.arrivals ? "open" : "closed");
  if (load.arrivals) {
    json.field("rate", load.arrivals->rate).field("burstiness", load.arrivals->burstiness).field("seed", load.arrivals->seed);
    json.field("connections", load.parallel);
  } else {
    json.field("clients", load.parallel);
  }
  json.field("cache", load.cache);
  if (!load.url.empty()) json.field("url", load.url);
  json.end_object();
  json.field("requests", s.requests).field("completed", s.completed).field("failed", s.failed).begin_object("errors");
  for (const auto& [message, count] : s.errors) json.field(message, count);
  json.end_object().field("seconds", s.seconds).field("requests_per_second", s.requests_per_second);
  json.field("tokens_per_second", s.tokens_per_second).field("goodput", s.goodput).field("good_share", s.good_share);
  for (const auto& [name, d] :
       {std::pair{"wait_ms", &s.wait_ms}, {"ttft_ms", &s.ttft_ms}, {"tpot_ms", &s.tpot_ms}, {"itl_ms", &s.itl_ms}, {"e2e_ms", &s.e2e_ms}}) {
    distribution_json(json, name, *d);
  }
  json.begin_object("stages");
  for (const auto& [stage, d] : s.stages) distribution_json(json, stage, d);
  json.end_object().begin_object("cost");
  optional_field(json, "cpu_seconds", cost.cpu_seconds);
  optional_field(json, "read_mib", cost.read_mib);
  optional_field(json, "peak_rss_mib", cost.peak_mib);
  if (cost.rss_mib) json.field("rss_mib", *cost.rss_mib);
  optional_field(json, "joules", cost.joules);
  json.end_object().end_object().print();
}

void print_latency(const LoadDescription& load, const LatencySummary& s, const LoadCost& cost) {
  print_out(format("%zu requests, %zu completed, %zu failed in %.1f s: %.2f requests/s, %.1f tokens/s", s.requests, s.completed, s.failed,
                   s.seconds, s.requests_per_second, s.tokens_per_second));
  if (!load.slo.empty()) print_out(format("; %.1f %% within %s, %.2f a second", 100 * s.good_share, load.slo.c_str(), s.goodput));
  print_out("\n");
  for (const auto& [message, count] : s.errors) print_out(format("  %zu x %s\n", count, message.c_str()));
  print_out(format("\n%-12s %6s %9s  %-26s  %-26s  %-26s  %s\n", "ms", "n", "mean", "p50 [95 % interval]", "p90", "p95", "p99"));
  print_distribution("wait", s.wait_ms);
  print_distribution("TTFT", s.ttft_ms);
  print_distribution("TPOT", s.tpot_ms);
  print_distribution("ITL", s.itl_ms);
  print_distribution("E2E", s.e2e_ms);
  print_out("\n");
  for (const auto& [stage, d] : s.stages) print_distribution(stage.substr(0, stage.size() - 3), d);
  std::vector<std::string> parts;
  if (cost.cpu_seconds) {
    parts.push_back(format("CPU %.1f s (%.2f cores)", *cost.cpu_seconds, s.seconds > 0 ? *cost.cpu_seconds / s.seconds : 0));
  }
  if (cost.read_mib) parts.push_back(format("%.1f MiB read from disk", *cost.read_mib));
  if (cost.peak_mib) parts.push_back(format("peak memory %.0f MiB", *cost.peak_mib));
  if (cost.rss_mib) parts.push_back(format("memory %.0f MiB at the end", *cost.rss_mib));
  if (cost.joules) parts.push_back(format("%.0f J", *cost.joules));
  if (parts.empty()) return;
  std::string line = load.url.empty() ? "\n" : "\nthe service: ";
  for (std::size_t i = 0; i < parts.size(); ++i) line += (i > 0 ? ", " : "") + parts[i];
  print_out(line + "\n");
}

}  // namespace gritstone
