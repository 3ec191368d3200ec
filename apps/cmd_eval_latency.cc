// gritstone eval latency: how long users wait, under a load that does not wait for them.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <memory>

#include "apps/commands.h"
#include "apps/json_output.h"
#include "apps/reuse_options.h"
#include "apps/search_options.h"
#include "apps/terminal.h"
#include "base/error.h"
#include "pipelines/certificate.h"
#include "pipelines/embedder_setup.h"
#include "pipelines/eval_latency.h"
#include "pipelines/latency_summary.h"
#include "pipelines/qa_questions.h"

namespace gritstone {
namespace {

struct Options {
  std::string questions;
  std::size_t requests = 50, clients = 1, connections = 16, tokens = 64, warm_up = 2;
  double rate = 0;
  ArrivalOptions arrivals;
  std::string slo, cache = "warm", layout = "docs-first";
  bool no_abstain = false;
  SearchFlags search;
  ReuseFlags reuse;
};

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

struct Cost {
  double cpu_seconds = 0, read_mib = 0, peak_mib = 0;
  std::optional<double> joules;
};

Cost cost_between(const ProcessUsage& before, const ProcessUsage& after) {
  Cost cost{after.cpu_seconds - before.cpu_seconds, static_cast<double>(after.read_bytes - before.read_bytes) / (1 << 20),
            static_cast<double>(after.peak_rss) / (1 << 20), std::nullopt};
  if (before.joules && after.joules && *after.joules >= *before.joules) cost.joules = *after.joules - *before.joules;
  return cost;
}

void print_json(const Options& options, const LatencySummary& s, const Cost& cost) {
  JsonOutput json;
  json.begin_object().begin_object("load").field("kind", options.rate > 0 ? "open" : "closed");
  if (options.rate > 0) {
    json.field("rate", options.rate).field("burstiness", options.arrivals.burstiness).field("seed", options.arrivals.seed);
    json.field("connections", options.connections);
  } else {
    json.field("clients", options.clients);
  }
  json.field("cache", options.cache).end_object();
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
  json.end_object().begin_object("cost").field("cpu_seconds", cost.cpu_seconds).field("read_mib", cost.read_mib);
  json.field("peak_rss_mib", cost.peak_mib).key("joules");
  cost.joules ? json.value(*cost.joules) : json.null();
  json.end_object().end_object().print();
}

void print_text(const Options& options, const LatencySummary& s, const Cost& cost) {
  print_out(format("%zu requests, %zu completed, %zu failed in %.1f s: %.2f requests/s, %.1f tokens/s", s.requests, s.completed, s.failed,
                   s.seconds, s.requests_per_second, s.tokens_per_second));
  if (!options.slo.empty()) print_out(format("; %.1f %% within %s, %.2f a second", 100 * s.good_share, options.slo.c_str(), s.goodput));
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
  print_out(format("\nCPU %.1f s (%.2f cores), %.1f MiB read from disk, peak memory %.0f MiB", cost.cpu_seconds,
                   s.seconds > 0 ? cost.cpu_seconds / s.seconds : 0, cost.read_mib, cost.peak_mib));
  if (cost.joules) print_out(format(", %.0f J", *cost.joules));
  print_out("\n");
}

int run(CliSession& session, const Options& options) {
  Store& store = session.store(Store::Mode::kRead);
  const auto snapshot = store.snapshot(session.options.collection);
  AnswerTargetOptions target_options;
  for (const QaQuestion& question : read_questions(options.questions)) target_options.questions.push_back(question.question);
  target_options.collection = session.options.collection;
  target_options.cold = options.cache == "cold";
  AnswerOptions& ask = target_options.answer;
  ask.search = options.search.search_options(session, snapshot->info());
  ask.layout = options.layout == "query-first" ? PromptLayout::kQueryFirst : PromptLayout::kDocsFirst;
  ask.max_new_tokens = options.tokens;
  ask.abstain = !options.no_abstain;
  ask.span_type = options.reuse.span_kv_type();
  ask.cancel = session.stop();
  const Slo slo = parse_slo(options.slo);
  const ModelParts parts = session.model_parts();
  const auto embedder = ask.search.mode == SearchMode::kBm25 ? nullptr : open_collection_embedder(parts, snapshot->info());
  if (embedder != nullptr) ask.embedding = embedder->options();
  ask.reuse = resolve_reuse(parse_reuse(options.reuse.policy), store, snapshot->info(), parts, ask.span_type, ask.layout).policy;
  // Disk spans are read, none are written: measuring leaves no trace in the store.
  SpanCache cache(store, options.reuse.cache_options(Store::Mode::kRead, parts));
  ask.cache = &cache;
  const LoadTarget target = answer_target(store, embedder.get(), parts, target_options);

  SteadyClock warm_clock;
  const std::size_t warm_up = options.cache == "warm" ? std::min(target_options.questions.size(), options.requests) : options.warm_up;
  run_closed_loop(
      warm_up, 1, warm_clock,
      [&](std::size_t i, LoadClock& clock) {
        session.progress().update("warm up", i, warm_up, "questions");
        return target(i, clock);
      },
      session.stop());
  std::atomic<std::size_t> done{0};
  const ProcessUsage before = process_usage();
  SteadyClock clock;
  const LoadTarget counted = [&](std::size_t i, LoadClock& c) {
    RequestOutcome outcome = target(i, c);
    ++done;
    return outcome;
  };
  const auto records =
      options.rate > 0 ? run_open_loop(arrival_times(options.requests, {options.rate, options.arrivals.burstiness, options.arrivals.seed}),
                                       options.connections, clock, counted, session.stop())
                       : run_closed_loop(options.requests, options.clients, clock, counted, session.stop());
  const Cost cost = cost_between(before, process_usage());
  session.progress().clear();
  session.check_stop();
  const LatencySummary summary = summarise_latency(records, slo);
  session.options.json ? print_json(options, summary, cost) : print_text(options, summary, cost);
  return summary.failed > 0 ? exit_code(ErrorCode::kPartial) : 0;
}

}  // namespace

void add_eval_latency_command(CLI::App& eval, CliSession& session, CommandTable& table) {
  CLI::App* command = eval.add_subcommand("latency", "First token, tokens and whole answers under load, with percentiles and intervals");
  auto options = std::make_shared<Options>();
  command->add_option("--questions", options->questions, "As for eval qa; asked in turn")->required();
  command->add_option("--requests", options->requests, "How many")->capture_default_str()->check(CLI::PositiveNumber);
  command->add_option("--rate", options->rate, "Open loop: requests a second, sent on time whatever happens [closed loop]")
      ->check(CLI::PositiveNumber);
  command->add_option("--burstiness", options->arrivals.burstiness, "Open loop: 1 is Poisson, below 1 clumps, above 1 is more even")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  command->add_option("--seed", options->arrivals.seed, "Of the arrivals")->capture_default_str();
  command->add_option("--connections", options->connections, "Open loop: requests under way at most; one that must wait is late")
      ->capture_default_str()
      ->check(CLI::Range(1, 256));
  command->add_option("--clients", options->clients, "Closed loop: clients that ask one question after the other")
      ->capture_default_str()
      ->check(CLI::Range(1, 256));
  command->add_option("--slo", options->slo, "Limits for goodput: ttft:500,tpot:80,e2e:5000");
  command->add_option("--cache", options->cache, "warm: every question was asked before; cold: nothing is known to any request")
      ->check(CLI::IsMember({"warm", "cold"}))
      ->capture_default_str();
  command->add_option("-n,--tokens", options->tokens, "Longest answer")->capture_default_str()->check(CLI::PositiveNumber);
  command->add_option("--layout", options->layout, "Prompt order: docs-first or query-first")
      ->check(CLI::IsMember({"docs-first", "query-first"}))
      ->capture_default_str();
  command->add_flag("--no-abstain", options->no_abstain, "Lets the model answer even if no passage seems to hold the answer");
  options->search.k = 5;
  add_search_flags(*command, options->search, "Passages that are put before the model");
  add_reuse_flags(*command, options->reuse);
  session.add_options(*command, CliSession::kEngine | CliSession::kCollection);
  command->footer(
      "Times count from when a request was due, so a stall is felt by every request behind it. p99 needs 662 samples.\n"
      "Exit status: 0, or 2 if requests failed.\n"
      "Examples:\n"
      "  gritstone eval latency --questions data/sample/questions.jsonl -c sample -m model.gguf\n"
      "  gritstone eval latency --questions q.jsonl -c notes -m model.gguf --rate 0.5 --requests 200 --slo ttft:1000 --reuse chunks");
  table.add(command, [&session, options] { return run(session, *options); });
}

}  // namespace gritstone
