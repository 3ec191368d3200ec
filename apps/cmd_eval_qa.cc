// gritstone eval qa: answers against gold answers, under every reuse policy asked for, beside baselines.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <memory>
#include <set>

#include "apps/budget_options.h"
#include "apps/commands.h"
#include "apps/json_output.h"
#include "apps/reuse_options.h"
#include "apps/run_description.h"
#include "apps/search_options.h"
#include "apps/terminal.h"
#include "base/error.h"
#include "pipelines/embedder_setup.h"
#include "pipelines/eval_qa.h"
#include "pipelines/qa_quality.h"

namespace gritstone {
namespace {

struct Options {
  std::string questions;
  std::string run;
  std::size_t limit = 0;
  std::vector<std::string> modes{"fused"}, baselines;
  std::vector<std::string> reuse{"none"}, span_types{"int8"}, layouts{"docs-first"};
  std::vector<std::size_t> ks{5}, passage_tokens{0};
  std::vector<double> ttft_budgets;
  bool save_quality = false;
  std::size_t tokens = 64;
  bool kl = false;
  bool no_abstain = false;
  SearchFlags search;
  std::uint64_t ram_mb = 2048;
};

void summary_json(JsonOutput& json, const QaSummary& s) {
  json.begin_object().field("config", s.config).field("questions", s.questions).field("answerable", s.answerable).field("failed", s.failed);
  json.field("em", s.exact_match).field("f1", s.f1).field("contained", s.contained).field("abstention", s.abstention);
  json.field("abstention_precision", s.abstention_precision);
  json.field("false_abstention", s.false_abstention).field("hit_rate", s.hit_rate);
  json.field("citation_precision", s.citation_precision).field("citation_recall", s.citation_recall);
  json.field("ttft_ms_median", s.ttft_ms_median).field("total_ms_median", s.total_ms_median).field("reused_share", s.reused_share);
  json.field("compared", s.compared)
      .field("same_tokens", s.same_tokens)
      .field("of_16", s.of_16)
      .field("same_tokens_of_16", s.same_tokens_of_16)
      .field("flipped", s.flipped);
  json.field("reference_right", s.reference_right).field("stayed_right", s.stayed_right);
  json.field("stayed_right_lower", s.stayed_right_lower).field("kl_tokens", s.kl_tokens).field("kl_mean", s.kl_mean);
  json.field("kl_p99", s.kl_p99).field("top1_agreement", s.top1_agreement);
  if (s.budgeted > 0) {
    json.begin_object("budget").field("answers", s.budgeted).field("fitted", s.fitted).field("kept", s.kept);
    json.field("within_1.15", s.nearly_kept).end_object();
  }
  json.begin_object("stages_mean_ms");
  for (const auto& [stage, ms] : s.stages_mean) json.field(stage.substr(0, stage.size() - 3), ms);
  json.end_object().end_object();
}

void print_table(const std::vector<QaSummary>& summaries) {
  std::size_t width = 6;
  for (const QaSummary& s : summaries) width = std::max(width, s.config.size());
  const int w = static_cast<int>(width);
  print_out(format("%-*s  %5s  %5s  %5s  %5s  %5s  %8s  %8s  %7s  %s\n", w, "config", "n", "EM", "F1", "right", "hit", "TTFT ms",
                   "total ms", "reused", "stayed right"));
  for (const QaSummary& s : summaries) {
    print_out(format("%-*s  %5zu  %5.3f  %5.3f  %5.3f  %5.3f  %8.0f  %8.0f  %6.1f%%", w, s.config.c_str(), s.questions, s.exact_match, s.f1,
                     s.contained, s.hit_rate, s.ttft_ms_median, s.total_ms_median, 100 * s.reused_share));
    if (s.compared > 0) {
      print_out(format("  %zu of %zu, at least %.1f %%", s.stayed_right, s.reference_right, 100 * s.stayed_right_lower));
    }
    if (s.budgeted > 0) {
      print_out(format("  budget kept by %zu (%zu within 1.15 times) of %zu in whose reach it was, of %zu", s.kept, s.nearly_kept, s.fitted,
                       s.budgeted));
    }
    print_out("\n");
  }
}

// A collection of the evaluation with what is open of it.
struct OpenSource {
  std::string label;
  std::shared_ptr<const Snapshot> snapshot;
  std::unique_ptr<const Embedder> embedder;
  std::vector<SearchMode> modes;
};

// The collection under test, then the baselines: "NAME" under all modes, "NAME:MODE" under one.
std::vector<OpenSource> open_sources(CliSession& session, const Options& options, const ModelParts& parts) {
  const Store& store = session.store(Store::Mode::kRead);
  std::vector<SearchMode> modes;
  for (const std::string& mode : options.modes) modes.push_back(parse_search_mode(mode));
  std::vector<OpenSource> sources;
  sources.push_back({"", store.snapshot(session.options.collection), nullptr, modes});
  for (const std::string& text : options.baselines) {
    const std::size_t colon = text.find(':');
    const std::string name = text.substr(0, colon);
    if (name == session.options.collection) {
      throw Error(ErrorCode::kInvalidArgument, "--baseline " + text + ": that is the collection under test; see --mode");
    }
    const std::vector<SearchMode> of = colon == std::string::npos ? modes : std::vector{parse_search_mode(text.substr(colon + 1))};
    const auto known = std::ranges::find(sources, name, &OpenSource::label);
    if (known != sources.end()) {
      known->modes.insert(known->modes.end(), of.begin(), of.end());
    } else {
      sources.push_back({name, store.snapshot(name), nullptr, of});
    }
  }
  for (OpenSource& source : sources) {
    const bool by_words = std::ranges::all_of(source.modes, [](SearchMode mode) { return mode == SearchMode::kBm25; });
    if (!by_words) source.embedder = open_collection_embedder(parts, source.snapshot->info());
  }
  return sources;
}

std::string search_text(const SearchFlags& flags) {
  const std::string rerank = flags.rerank == 0 ? "" : format(", rerank %zu at %g", flags.rerank, flags.rerank_weight);
  return format("%s, %zu a document%s%s%s", flags.fusion.c_str(), flags.per_document, flags.duplicates ? ", with duplicates" : "",
                rerank.c_str(), flags.filter.empty() ? "" : (", " + flags.filter).c_str());
}

void warn_of_failures(CliSession& session, const std::vector<QaRow>& rows) {
  std::map<std::string, std::pair<std::size_t, std::string>> messages;  // count, first question
  for (const QaRow& row : rows) {
    if (row.error.empty()) continue;
    auto& [count, first] = messages[row.error];
    if (count++ == 0) first = row.id + " under " + row.config;
  }
  for (const auto& [message, seen] : messages)
    session.warn(format("%zu x %s (first: %s)", seen.first, message.c_str(), seen.second.c_str()));
}

// What this run says about ways of asking the collection, for answering within a budget.
void save_quality(CliSession& session, Store& store, const ModelParts& parts, const EvalQaOptions& eval, const std::vector<QaRow>& rows,
                  const Options& options) {
  const std::string source = format("%zu questions of %s, at most %zu tokens%s; %s", eval.questions.size(), options.questions.c_str(),
                                    options.tokens, options.no_abstain ? ", always answered" : "", eval.search.c_str());
  QualityTable table = quality_table_from(summarise(rows, eval.grid), eval.grid, source);
  if (table.entries.empty()) throw Error(ErrorCode::kInvalidArgument, "--save-quality: no config of the collection itself was measured");
  const std::size_t measured = table.entries.size();
  const std::int64_t collection = store.snapshot(session.options.collection)->info().id;
  if (const auto before = store.quality_table(collection, parts.hash())) {
    try {
      table = merge_quality_tables(std::move(table), quality_table_from_json(*before));
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kDamagedData) throw;  // else this run replaces it
    }
  }
  store.begin_write()->put_quality_table(session.options.collection, parts.hash(), quality_table_to_json(table));
  session.note(format("%zu ways of asking are kept for --ttft-budget, %zu of them measured before with the same questions",
                      table.entries.size(), table.entries.size() - measured));
}

int run(CliSession& session, const Options& options) {
  Store& store = session.store(options.save_quality ? Store::Mode::kReadWrite : Store::Mode::kRead);
  EvalQaOptions eval;
  eval.questions = read_questions(options.questions);
  if (options.limit > 0 && eval.questions.size() > options.limit) eval.questions.resize(options.limit);
  std::vector<ReusePolicy> policies;
  for (const std::string& text : options.reuse) policies.push_back(parse_reuse(text));
  std::vector<KvType> types;
  for (const std::string& text : options.span_types) types.push_back(kv_type_from_name(text).value_or(KvType::kInt8));
  std::vector<PromptLayout> layouts;
  for (const std::string& text : options.layouts) {
    layouts.push_back(text == "query-first" ? PromptLayout::kQueryFirst : PromptLayout::kDocsFirst);
  }
  const ModelParts parts = session.model_parts();
  const std::vector<OpenSource> open = open_sources(session, options, parts);
  std::vector<QaSource> sources;
  std::vector<QaRetrieval> retrievals;
  for (const OpenSource& source : open) {
    const double weight = options.search.dense_weight < 0 ? default_dense_weight(source.snapshot->info()) : options.search.dense_weight;
    sources.push_back({source.label, source.snapshot.get(), source.embedder.get(), weight});
    for (const SearchMode mode : source.modes) retrievals.push_back({source.label, mode});
  }
  eval.grid = qa_grid({policies, types, options.ks, layouts, retrievals, options.passage_tokens, options.ttft_budgets});
  eval.kl = options.kl;
  eval.run = options.run;
  eval.search = search_text(options.search);
  eval.about = {{"command", command_line()},
                {"questions", options.questions},
                {"machine", machine_name()},
                {"threads", std::to_string(parts.engine().threads())},
                {"program", "gritstone " GRITSTONE_VERSION}};
  eval.answer.search = options.search.search_options(session, open[0].snapshot->info());
  eval.answer.max_new_tokens = options.tokens;
  eval.answer.abstain = !options.no_abstain;
  eval.answer.cancel = session.stop();
  eval.on_progress = [&session](std::size_t done, std::size_t total) { session.progress().update("ask", done, total, "questions"); };
  // Kept in memory alone: measuring leaves no trace in the store.
  const std::uint64_t share = (options.ram_mb << 20) / eval.grid.size();
  eval.new_cache = [&store, share] { return std::make_unique<SpanCache>(store, SpanCacheOptions{share, 0, {}, false}); };
  std::optional<StartCosts> costs;
  if (!options.ttft_budgets.empty()) costs.emplace(measurements_file(parts, "start"));
  eval.start_budget = [&](const CollectionInfo& info, PromptLayout layout) {
    return start_budget(session, 0, store, info, parts, *costs, layout);
  };
  const std::vector<QaRow> rows = eval_qa(sources, parts, eval);
  session.progress().clear();
  warn_of_failures(session, rows);
  const bool failed = std::ranges::any_of(rows, [](const QaRow& row) { return !row.error.empty(); });
  const int status = failed ? exit_code(ErrorCode::kPartial) : 0;
  if (options.save_quality) save_quality(session, store, parts, eval, rows, options);
  std::set<std::string> kinds;
  for (const QaQuestion& question : eval.questions) {
    if (!question.kind.empty()) kinds.insert(question.kind);
  }
  if (session.options.json) {
    JsonOutput json;
    json.begin_object().begin_array("configs");
    for (const QaSummary& s : summarise(rows, eval.grid)) summary_json(json, s);
    json.end_array().begin_object("kinds");
    for (const std::string& kind : kinds) {
      json.begin_array(kind);
      for (const QaSummary& s : summarise(rows, eval.grid, kind)) summary_json(json, s);
      json.end_array();
    }
    json.end_object().end_object().print();
    return status;
  }
  print_table(summarise(rows, eval.grid));
  if (kinds.size() < 2) return status;
  for (const std::string& kind : kinds) {
    print_out("\n" + kind + "\n");
    print_table(summarise(rows, eval.grid, kind));
  }
  return status;
}

}  // namespace

void add_eval_qa_command(CLI::App& eval, CliSession& session, CommandTable& table) {
  CLI::App* command = eval.add_subcommand("qa", "Answers against gold answers, under every combination of the options with commas");
  auto options = std::make_shared<Options>();
  command->add_option("--questions", options->questions, "JSON lines with question and answers, or a SQuAD file")->required();
  command->add_option("--run", options->run, "Keeps every answer in this file (JSON lines) and goes on from what it holds");
  command->add_option("--limit", options->limit, "Only the first so many questions; 0: all")->capture_default_str();
  command->add_option("--reuse", options->reuse, "Policies, with commas: none,exact,chunks,first=16,blend=0.15")
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("--span-type", options->span_types, "Types passages' states are kept in, with commas")
      ->delimiter(',')
      ->check(CLI::IsMember({"bf16", "int8", "int4"}))
      ->capture_default_str();
  command->add_option("--passages", options->ks, "Passages put before the model, with commas")
      ->delimiter(',')
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      ->add_option("--passage-tokens", options->passage_tokens, "Of every passage at most so many tokens, with commas; 0: whole passages")
      ->delimiter(',')
      ->capture_default_str();
  command
      ->add_option("--ttft-budget", options->ttft_budgets,
                   "Milliseconds to the first token, with commas: asked beside the others, as ask --ttft-budget would")
      ->delimiter(',')
      ->check(CLI::PositiveNumber);
  command->add_flag("--save-quality", options->save_quality,
                    "Keeps the F1 of every way of asking in the collection: what --ttft-budget chooses by");
  command->add_option("--layout", options->layouts, "Prompt orders, with commas: docs-first,query-first")
      ->delimiter(',')
      ->check(CLI::IsMember({"docs-first", "query-first"}))
      ->capture_default_str();
  command->add_option("-n,--tokens", options->tokens, "Longest answer")->capture_default_str()->check(CLI::PositiveNumber);
  command->add_flag("--kl", options->kl, "Also scores the reference answers under every policy, token by token");
  command->add_flag("--no-abstain", options->no_abstain, "Lets the model answer even if no passage seems to hold the answer");
  command->add_option("--cache-ram", options->ram_mb, "MiB of memory for kept states, shared out evenly: each way of asking has its own")
      ->capture_default_str();
  add_search_flags(*command, options->search, "Not used here: see --passages");
  command->remove_option(command->get_option("-k"));
  command->remove_option(command->get_option("--mode"));
  command->add_option("--mode", options->modes, "How passages are found, with commas: fused,bm25,dense")
      ->delimiter(',')
      ->check(CLI::IsMember({"fused", "bm25", "dense"}))
      ->capture_default_str();
  command->add_option("--baseline", options->baselines,
                      "COLLECTION or COLLECTION:MODE: the same documents indexed otherwise (another embedder, chunk size), asked beside");
  session.add_options(*command, CliSession::kEngine | CliSession::kCollection);
  command->footer(
      "\"Stayed right\" compares with the first none (else exact) of the same retrieval, passages and layout, with the lower 95 % bound.\n"
      "`eval report RUN` makes one page of it. Exit status: 0, or 2 if a question could not be asked (the next run asks it again).\n"
      "Examples:\n"
      "  gritstone eval qa --questions data/sample/questions.jsonl -c sample -m model.gguf\n"
      "  gritstone eval qa --questions q.jsonl -c notes -m model.gguf --reuse none,exact,chunks --span-type bf16,int8,int4 --kl --run "
      "run.jsonl\n"
      "  gritstone eval qa --questions q.jsonl -c notes --mode fused,bm25 --baseline notes-minilm:fused --run run.jsonl");
  table.add(command, [&session, options] { return run(session, *options); });
}

}  // namespace gritstone
