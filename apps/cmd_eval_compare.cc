// gritstone eval compare: two evaluations of the same questions, with intervals.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>

#include "apps/commands.h"
#include "apps/json_output.h"
#include "apps/terminal.h"
#include "pipelines/paired_comparison.h"

namespace gritstone {
namespace {

// Beside the codes of errors (base/error.h): the comparison was made, and B is worse.
constexpr int kWorse = 8;

struct Options {
  std::string a, b, config_a, config_b;
  std::vector<std::string> gate;
  CompareOptions compare;
};

// B is worse with statistical confidence, all metrics compared taken into account.
bool is_worse(const PairedComparison& c) {
  const double better = smaller_is_better(c.metric) ? -c.difference : c.difference;
  return better < 0 && c.p_holm < 0.05;
}

int run(CliSession& session, const Options& options) {
  const std::vector<PairedComparison> all =
      compare_paired(read_figures(options.a, options.config_a), read_figures(options.b, options.config_b), options.compare);
  bool gated = false;
  for (const PairedComparison& c : all) {
    gated = gated || (is_worse(c) && std::ranges::find(options.gate, c.metric) != options.gate.end());
  }
  if (session.options.json) {
    JsonOutput json;
    json.begin_object().begin_array("metrics");
    for (const PairedComparison& c : all) {
      json.begin_object().field("metric", c.metric).field("n", c.n).field("a", c.mean_a).field("b", c.mean_b);
      json.field("difference", c.difference).field("lower", c.lower).field("upper", c.upper).field("p", c.p).field("p_holm", c.p_holm);
      json.field("detectable", c.detectable).field("worse", is_worse(c)).end_object();
    }
    json.end_array().field("gate_failed", gated).end_object().print();
  } else {
    print_out(format("%-12s %6s  %10s  %10s  %10s  %-25s %8s %8s  %s\n", "metric", "n", "A", "B", "B - A", "95 % interval", "p", "Holm",
                     "detectable"));
    for (const PairedComparison& c : all) {
      const std::string interval = format("[%+.4f, %+.4f]", c.lower, c.upper);
      print_out(format("%-12s %6zu  %10.4f  %10.4f  %+10.4f  %-25s %8.4f %8.4f  %.4f%s\n", c.metric.c_str(), c.n, c.mean_a, c.mean_b,
                       c.difference, interval.c_str(), c.p, c.p_holm, c.detectable, is_worse(c) ? "  worse" : ""));
    }
  }
  return gated ? kWorse : 0;
}

}  // namespace

void add_eval_compare_command(CLI::App& eval, CliSession& session, CommandTable& table) {
  CLI::App* command = eval.add_subcommand("compare", "Whether B differs from A, question by question, with intervals and p-values");
  auto options = std::make_shared<Options>();
  command->add_option("A", options->a, "JSON of eval retrieval, or run file of eval qa")->required();
  command->add_option("B", options->b, "Another one of the same questions")->required();
  command->add_option("--config-a", options->config_a, "Of a run file with several: the config to take from A");
  command->add_option("--config-b", options->config_b, "Likewise from B");
  command->add_option("--gate", options->gate, "Metrics, with commas: exit status 8 if B is worse in one of them")->delimiter(',');
  command->add_option("--resamples", options->compare.resamples, "Of bootstrap and randomisation test")
      ->capture_default_str()
      ->check(CLI::Range(100, 1000000));
  command->add_option("--seed", options->compare.seed, "Of the resamples")->capture_default_str();
  session.add_options(*command, CliSession::kNothing);
  command->footer(
      "\"Worse\": the difference has the wrong sign and its p-value, corrected over all metrics (Holm), is below 0.05. \"Detectable\" is "
      "the\n"
      "smallest difference that so many questions would have shown in four of five such experiments.\n"
      "Examples:\n"
      "  gritstone eval compare bm25.json fused.json\n"
      "  gritstone eval compare run.jsonl run.jsonl --config-a none/k5/docs-first --config-b chunks/int8/k5/docs-first --gate "
      "f1,contained");
  table.add(command, [&session, options] { return run(session, *options); });
}

}  // namespace gritstone
