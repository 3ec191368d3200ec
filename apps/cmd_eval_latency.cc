// gritstone eval latency: how long users wait, under a load that does not wait for them.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>

#include "apps/commands.h"
#include "apps/latency_output.h"
#include "apps/paths.h"
#include "apps/reuse_options.h"
#include "apps/search_options.h"
#include "apps/terminal.h"
#include "base/error.h"
#include "pipelines/certificate.h"
#include "pipelines/embedder_setup.h"
#include "pipelines/eval_latency.h"
#include "pipelines/qa_questions.h"
#include "pipelines/request_records.h"

namespace gritstone {
namespace {

struct Options {
  std::string questions;
  std::size_t requests = 50, clients = 1, connections = 16, tokens = 64, warm_up = 2;
  double rate = 0;
  ArrivalOptions arrivals;
  std::string slo, cache = "warm", layout = "docs-first", records;
  bool no_abstain = false;
  SearchFlags search;
  ReuseFlags reuse;
  // A running service instead of this process.
  std::string url, api = "answer", request_model, key_file;
};

LoadDescription describe_load(const Options& options) {
  LoadDescription load;
  if (options.rate > 0) load.arrivals = {options.rate, options.arrivals.burstiness, options.arrivals.seed};
  load.parallel = options.rate > 0 ? options.connections : options.clients;
  load.cache = options.cache;
  load.url = options.url;
  load.slo = options.slo;
  return load;
}

std::vector<std::string> question_texts(const Options& options) {
  std::vector<std::string> texts;
  for (const QaQuestion& question : read_questions(options.questions)) texts.push_back(question.question);
  return texts;
}

// The load itself. usage: called before and after, for what the run cost.
int measure(CliSession& session, const Options& options, std::size_t questions, const LoadTarget& target,
            const std::function<LoadCost()>& usage) {
  const Slo slo = parse_slo(options.slo);
  std::optional<RequestRecordFile> records;
  if (!options.records.empty()) records.emplace(options.records);
  SteadyClock warm_clock;
  const std::size_t warm_up = options.cache == "warm" ? std::min(questions, options.requests) : options.warm_up;
  run_closed_loop(
      warm_up, 1, warm_clock,
      [&](std::size_t i, LoadClock& clock) {
        session.progress().update("warm up", i, warm_up, "questions");
        return target(i, clock);
      },
      session.stop());
  session.check_stop();
  std::size_t done = 0;
  const OnRecord on_record = [&](const RequestRecord& record) {
    if (records) records->write(record);
    session.progress().update("measure", ++done, options.requests, "requests");
  };
  const LoadCost before = usage();
  SteadyClock clock;
  const auto measured =
      options.rate > 0 ? run_open_loop(arrival_times(options.requests, {options.rate, options.arrivals.burstiness, options.arrivals.seed}),
                                       options.connections, clock, target, session.stop(), on_record)
                       : run_closed_loop(options.requests, options.clients, clock, target, session.stop(), on_record);
  const LoadCost cost = cost_between(before, usage());
  session.progress().clear();
  if (records) records->finish();
  session.check_stop();
  const LatencySummary summary = summarise_latency(measured, slo);
  const LoadDescription load = describe_load(options);
  session.options.json ? print_latency_json(load, summary, cost) : print_latency(load, summary, cost);
  return summary.failed > 0 ? exit_code(ErrorCode::kPartial) : 0;
}

int run_here(CliSession& session, const Options& options) {
  Store& store = session.store(Store::Mode::kRead);
  const auto snapshot = store.snapshot(session.options.collection);
  AnswerTargetOptions target_options;
  target_options.questions = question_texts(options);
  target_options.collection = session.options.collection;
  target_options.cold = options.cache == "cold";
  AnswerOptions& ask = target_options.answer;
  ask.search = options.search.search_options(session, snapshot->info());
  ask.layout = options.layout == "query-first" ? PromptLayout::kQueryFirst : PromptLayout::kDocsFirst;
  ask.max_new_tokens = options.tokens;
  ask.abstain = !options.no_abstain;
  ask.span_type = options.reuse.span_kv_type();
  ask.cancel = session.stop();
  const ModelParts parts = session.model_parts();
  const auto embedder = ask.search.mode == SearchMode::kBm25 ? nullptr : open_collection_embedder(parts, snapshot->info());
  if (embedder != nullptr && embedder->model_options() != nullptr) ask.embedding = *embedder->model_options();
  ask.reuse = resolve_reuse(parse_reuse(options.reuse.policy), store, snapshot->info(), parts, ask.span_type, ask.layout).policy;
  // Disk spans are read, none are written: measuring leaves no trace in the store.
  SpanCache cache(store, options.reuse.cache_options(Store::Mode::kRead, parts));
  ask.cache = &cache;
  const LoadTarget target = answer_target(store, embedder.get(), parts, target_options);
  return measure(session, options, target_options.questions.size(), target, [] { return load_cost(process_usage()); });
}

// What a request over HTTP cannot say, or what the service decides for itself.
void refuse_with_url(const CLI::App& command) {
  for (const char* name :
       {"--fusion", "--dense-weight", "--per-document", "--duplicates", "--span-type", "--cache-ram", "--cache-disk", "--embedder-url"}) {
    if (command.count(name) > 0)
      throw Error(ErrorCode::kInvalidArgument, std::string(name) + " is the service's own; it cannot be given with --url");
  }
}

int run_service(CliSession& session, const Options& options, const CLI::App& command) {
  refuse_with_url(command);
  if (!session.network.service) throw Error(ErrorCode::kInvalidArgument, "this build has no HTTP client, so --url cannot be used");
  if (options.cache == "cold") {
    throw Error(ErrorCode::kInvalidArgument,
                "--cache cold is for this process; a service keeps what it has computed until it is started anew");
  }
  ServiceOptions service;
  service.api = options.api == "chat" ? ServiceOptions::Api::kChat : ServiceOptions::Api::kAnswer;
  service.url = options.url;
  service.key_file = options.key_file;
  service.questions = question_texts(options);
  service.collection = session.options.collection;
  service.model = options.request_model;
  service.max_tokens = options.tokens;
  service.passages = options.search.k;
  service.mode = command.count("--mode") > 0 ? options.search.mode : "";
  service.layout = command.count("--layout") > 0 ? options.layout : "";
  service.reuse = command.count("--reuse") > 0 ? options.reuse.policy : "";
  service.filter = options.search.filter;
  service.abstain = !options.no_abstain;
  service.stop = session.stop();
  const std::unique_ptr<ServiceUnderLoad> under_load = session.network.service(service);
  under_load->check();
  const LoadTarget target = [&](std::size_t i, LoadClock& clock) { return under_load->ask(i, clock); };
  return measure(session, options, service.questions.size(), target, [&] {
    const ServiceUsage usage = under_load->usage();
    LoadCost cost;
    cost.cpu_seconds = usage.cpu_seconds;
    if (usage.resident_bytes) cost.rss_mib = *usage.resident_bytes / (1 << 20);
    return cost;
  });
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
  command->add_option("--records", options->records, "Writes a JSON line for every request as it completes");
  const char* group = "A running service";
  command->add_option("--url", options->url, "Measures http://HOST:PORT instead of this process; no model is loaded")->group(group);
  command->add_option("--api", options->api, "answer: POST /v1/answer of gritstone serve; chat: OpenAI's POST /v1/chat/completions")
      ->check(CLI::IsMember({"answer", "chat"}))
      ->capture_default_str()
      ->group(group);
  command->add_option("--request-model", options->request_model, "chat: the model to ask for (gritstone/NAME is a collection)")
      ->group(group);
  command->add_option("--api-key-file", options->key_file, "The service's key [$GRITSTONE_API_KEY]")->group(group);
  options->search.k = 5;
  add_search_flags(*command, options->search, "Passages that are put before the model");
  add_reuse_flags(*command, options->reuse);
  session.add_options(*command, CliSession::kEngine | CliSession::kCollection);
  command->footer(
      "Times count from when a request was due, so a stall is felt by every request behind it. p99 needs 662 samples.\n"
      "With --url times are the client's, stages and cost what the service says of itself.\n"
      "Exit status: 0, or 2 if requests failed; 5 if the service cannot be reached at the start.\n"
      "Examples:\n"
      "  gritstone eval latency --questions data/sample/questions.jsonl -c sample -m model.gguf\n"
      "  gritstone eval latency --questions q.jsonl -c notes -m model.gguf --rate 0.5 --requests 200 --slo ttft:1000 --reuse chunks\n"
      "  gritstone eval latency --questions q.jsonl -c notes --url http://localhost:8080 --clients 4 --records requests.jsonl\n"
      "  gritstone eval latency --questions q.jsonl --url http://localhost:8080/v1 --api chat --request-model gritstone/notes");
  table.add(command, [&session, options, command] {
    parse_slo(options->slo);  // before a model is loaded
    if (options->url.empty()) {
      for (const char* name : {"--api", "--request-model", "--api-key-file"}) {
        if (command->count(name) > 0) throw Error(ErrorCode::kInvalidArgument, std::string(name) + " needs --url");
      }
      return run_here(session, *options);
    }
    return run_service(session, *options, *command);
  });
}

}  // namespace gritstone
