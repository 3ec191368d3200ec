// gritstone ask: a question answered from a collection, with citations.
#include <CLI/CLI.hpp>
#include <map>
#include <memory>

#include "apps/answer_output.h"
#include "apps/budget_options.h"
#include "apps/commands.h"
#include "apps/reuse_options.h"
#include "apps/sampling_options.h"
#include "apps/search_options.h"
#include "apps/terminal.h"
#include "base/error.h"
#include "pipelines/answer.h"
#include "pipelines/certificate.h"
#include "pipelines/embed_on_demand.h"
#include "pipelines/embedder_setup.h"

namespace gritstone {
namespace {

struct Options {
  std::string question;
  SearchFlags search;
  AnswerOptions answer;
  std::string layout = "docs-first";
  ReuseFlags reuse;
  double timeout = 0;
  double ttft_budget = 0;
  bool no_abstain = false;
  bool no_drafts = false;
};

// As keep_spans(): the answer is out, so a full disk or another writer is only told.
void keep_vectors(CliSession& session, Store& store, const CollectionInfo& collection, const std::map<ChunkId, std::vector<float>>& rows) {
  try {
    const std::size_t kept = keep_embeddings(store, collection, rows);
    if (kept > 0) session.detail(format("%zu vectors that this question computed were kept", kept));
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kLocked) return;
    session.warn(std::string("vectors were not kept: ") + error.what());
  }
}

int run(CliSession& session, const Options& options) {
  validate(options.answer.sampling);
  const Store::Mode mode = options.reuse.store_mode(session);
  Store& store = session.store(mode);
  const std::shared_ptr<const Snapshot> snapshot = store.snapshot(session.options.collection);
  AnswerOptions request = options.answer;
  request.search = options.search.search_options(session, snapshot->info());
  request.layout = options.layout == "query-first" ? PromptLayout::kQueryFirst : PromptLayout::kDocsFirst;
  request.abstain = !options.no_abstain;
  request.drafts = !options.no_drafts;
  request.cancel = session.stop();
  const ModelParts parts = session.model_parts();
  const std::unique_ptr<Embedder> embedder =
      request.search.mode == SearchMode::kBm25 ? nullptr : open_collection_embedder(parts, snapshot->info());
  parts.engine();  // loading is not part of the answer's time
  std::optional<StartCosts> start_costs;
  if (options.ttft_budget > 0) {
    start_costs.emplace(measurements_file(parts, "start"));
    request.budget = start_budget(session, options.ttft_budget, store, snapshot->info(), parts, *start_costs, request.layout);
    request.on_budget = [&session](const BudgetReport& report) { print_budget_choice(session, report); };
  }
  if (options.timeout > 0) {
    request.deadline = std::chrono::steady_clock::now() + std::chrono::microseconds(static_cast<std::int64_t>(options.timeout * 1e6));
  }
  SpanCache cache(store, options.reuse.cache_options(mode, parts));
  request.cache = &cache;
  request.span_type = options.reuse.span_kv_type();
  const ResolvedReuse reuse =
      resolve_reuse(parse_reuse(options.reuse.policy), store, snapshot->info(), parts, request.span_type, request.layout);
  request.reuse = reuse.policy;
  std::map<ChunkId, std::vector<float>> embedded;
  if (mode == Store::Mode::kReadWrite) {
    request.on_embedded = [&embedded](ChunkId chunk, std::span<const float> row) { embedded[chunk].assign(row.begin(), row.end()); };
  }
  if (embedder != nullptr && embedder->model_options() != nullptr) request.embedding = *embedder->model_options();
  AnswerStream stream(session);
  if (!session.options.json && stdout_is_terminal()) request.on_text = [&stream](std::string_view text) { stream.write(text); };
  AnswerResult result = answer(*snapshot, embedder.get(), parts, options.question, request);
  if (reuse.certificate) result.reuse.certificate = reuse.certificate->summary();
  if (session.options.json) {
    print_answer_json(options.question, result);
  } else {
    print_answer(session, result, stream.finish(result));
  }
  keep_spans(session, cache);
  keep_vectors(session, store, snapshot->info(), embedded);
  if (result.damaged_chunks > 0) {
    session.warn(std::to_string(result.damaged_chunks) + " passages are damaged and were left out; see gritstone collection verify");
    return exit_code(ErrorCode::kDamagedData);
  }
  return 0;
}

}  // namespace

void add_ask_command(CLI::App& app, CliSession& session, CommandTable& table) {
  CLI::App* command = app.add_subcommand("ask", "Answers a question from a collection, with citations");
  auto options = std::make_shared<Options>();
  command->add_option("QUESTION", options->question, "The question")->required();
  command->add_option("-n,--tokens", options->answer.max_new_tokens, "Longest answer")->capture_default_str()->check(CLI::PositiveNumber);
  options->search.k = options->answer.search.k;
  add_search_flags(*command, options->search, "Passages that are put before the model");
  command->add_option("--layout", options->layout, "Prompt order: docs-first or query-first")
      ->check(CLI::IsMember({"docs-first", "query-first"}))
      ->capture_default_str();
  add_reuse_flags(*command, options->reuse);
  command->add_option("--instruction", options->answer.instruction, "Replaces the built-in instruction to the model");
  command->add_option("--stop", options->answer.stop_strings, "Ends before this text (may be repeated)")->take_all();
  command
      ->add_option("--ttft-budget", options->ttft_budget,
                   "Milliseconds to the first token: passages, their length and reuse are chosen so that it comes in time")
      ->check(CLI::PositiveNumber);
  command
      ->add_option("--passage-tokens", options->answer.passage_tokens,
                   "Of every passage at most so many tokens, its sentences nearest to the question; 0: whole passages")
      ->capture_default_str();
  command->add_option("--timeout", options->timeout, "Gives up after so many seconds; 0: never")->check(CLI::NonNegativeNumber);
  command->add_flag("--no-abstain", options->no_abstain, "Lets the model answer even if no passage seems to hold the answer");
  command->add_flag("--no-drafts", options->no_drafts, "Decodes token by token instead of checking quotes from the passages in batches");
  add_sampling_options(*command, options->answer.sampling);
  session.add_options(*command, CliSession::kEngine | CliSession::kCollection);
  command->footer(
      "Examples:\n"
      "  gritstone ask \"When does the last ferry leave in winter?\" -c notes -m model.gguf\n"
      "  gritstone ask \"Who decided on the archive?\" -c work -k 8 -n 120 --json\n"
      "  gritstone ask \"When does the last ferry leave in winter?\" -c notes --ttft-budget 800\n"
      "  gritstone ask \"What does error 17 mean?\" --filter \"path:manuals/*\" --layout query-first");
  table.add(command, [&session, options] { return run(session, *options); });
}

}  // namespace gritstone
