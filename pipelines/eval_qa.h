// Questions with gold answers, asked under every combination of retrieval, reuse policy, span type, passages and layout: what each costs in
// answers and buys in milliseconds.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pipelines/answer.h"
#include "pipelines/qa_questions.h"

namespace gritstone {

// A collection that passages come from: the one under test, or a baseline over the same documents (another embedder, another chunk size).
struct QaSource {
  std::string label;  // empty: the collection under test; else part of its configs' names
  const Snapshot* snapshot = nullptr;
  const Embedder* embedder = nullptr;  // null: by words alone
  double dense_weight = 0;             // in fusion
};

// How passages are found.
struct QaRetrieval {
  std::string source;  // a QaSource's label
  SearchMode mode = SearchMode::kFused;

  std::string name() const;  // "" (the collection under test, fused), "bm25", "minilm:fused"
};

// One way of asking.
struct QaConfig {
  ReusePolicy reuse;
  KvType span_type = KvType::kInt8;  // of no effect under none and exact
  std::size_t k = 5;
  PromptLayout layout = PromptLayout::kDocsFirst;
  QaRetrieval retrieval;
  std::size_t passage_tokens = 0;  // as AnswerOptions
  // Milliseconds to the first token; 0: none. With it `reuse` is what it may choose from, and k the most passages.
  double ttft_budget = 0;

  // "chunks/int8/k5/docs-first"; "none/k5/docs-first"; "bm25+none/k5p64/docs-first"; "ttft=1000/k5/docs-first"
  std::string name() const;
};

// Values of every dimension.
struct QaGridOptions {
  std::vector<ReusePolicy> reuse;
  std::vector<KvType> types{KvType::kInt8};
  std::vector<std::size_t> ks{5};
  std::vector<PromptLayout> layouts{PromptLayout::kDocsFirst};
  std::vector<QaRetrieval> retrievals{QaRetrieval{}};
  std::vector<std::size_t> passage_tokens{0};
  // Each beside the combinations, once per retrieval and layout, with reuse auto, the first type and the largest k.
  std::vector<double> ttft_budgets{};
};

// All combinations, each once, retrieval varying slowest, then `reuse`.
std::vector<QaConfig> qa_grid(const QaGridOptions& options);

// A passage that was put before the model, or shown as nearest.
struct QaPassage {
  std::string path;
  std::size_t start = 0, end = 0;  // source bytes
  double score = 0;
  std::string text;  // the first 300 characters, "…" behind them if there are more
};

struct QaCitation {
  std::size_t n = 0;  // number of the passage
  std::string path;
  std::size_t start = 0, end = 0;  // source bytes
};

// What one question came to under one config. A line of the run file.
struct QaRow {
  std::string config;
  std::string id;
  std::string kind;
  std::string question;
  std::vector<std::string> gold;  // accepted answers
  bool answerable = true;
  std::string error;   // not empty: the question could not be asked under this config, and nothing below holds anything
  std::string answer;  // as written, without markers
  double exact_match = 0, f1 = 0;
  bool contained = false;  // for an unanswerable question: abstained
  bool abstained = false;
  bool hit = false;              // a gold answer (or half of a gold span) stands in a passage that was put before the model
  std::size_t citations = 0;     // of the answer
  std::size_t citations_ok = 0;  // of them, those whose quoted text holds a gold answer or overlaps a gold span
  std::size_t prompt_tokens = 0, reused_tokens = 0, recomputed_tokens = 0, completion_tokens = 0;
  double ttft_ms = 0, total_ms = 0;
  std::map<std::string, double> stages;  // milliseconds, as stage_times() in pipelines/eval_latency.h
  std::vector<QaPassage> passages;       // numbered from 1
  std::vector<QaCitation> cited;
  std::string fingerprint;  // of the token ids written: equal for equal answers
  // Of a config with a budget for the first token (BudgetReport).
  double budget_ms = 0;  // 0: without, or no way of asking was known
  bool budget_fits = false;
  double expected_ms = 0, cautious_ms = 0;
  std::string chosen;  // quality_entry_name()
  // Beside the grid's reference (reference_of()), where that was asked for.
  std::vector<float> kl;     // nats, per token of the reference answer
  std::size_t same_top = 0;  // of kl.size()
};

struct EvalQaOptions {
  std::vector<QaQuestion> questions;
  std::vector<QaConfig> grid;
  // Search, length, sampling, abstention and cache; what the grid says replaces mode, k, reuse, span type and layout, the source its
  // weight.
  AnswerOptions answer;
  // A span cache for every config, so that none profits from what another has computed; empty: `answer.cache` for all.
  std::function<std::unique_ptr<SpanCache>()> new_cache;
  // For configs with a budget: costs and quality table, `ms` aside.
  std::function<StartBudget(const CollectionInfo&, PromptLayout)> start_budget;
  bool kl = false;  // score every reference answer again under every config
  // JSON lines, appended as answers come; what it holds already is not asked again. Empty: nothing is kept.
  std::filesystem::path run;
  // What the search options are, in words: part of what makes `run` another evaluation.
  std::string search;
  // Said in the head of a new `run`, and not compared: command, machine, ...
  std::vector<std::pair<std::string, std::string>> about;
  std::function<void(std::size_t done, std::size_t total)> on_progress;  // questions
};

// Rows of all questions and configs, question by question, those read from `run` included. A question that cannot be asked (it exceeds the
// context, its passages are damaged) has a row with an error, and the next run asks it again.
//   sources  the collection under test first; every label of the grid is there
// Throws Error: kInvalidArgument (no question, no config, a label without source, `run` is of another evaluation: nothing is overwritten);
// kCancelled, kDevice, kStorage (what is in `run` stays).
std::vector<QaRow> eval_qa(std::span<const QaSource> sources, const ModelParts& model, const EvalQaOptions& options);

struct QaSummary {
  std::string config;
  std::size_t questions = 0, answerable = 0;      // that were asked
  std::size_t failed = 0;                         // beside them; in no other figure
  double exact_match = 0, f1 = 0, contained = 0;  // means over answerable questions
  double abstention = 0;                          // share of unanswerable questions that it abstained from
  double false_abstention = 0;                    // share of answerable ones
  double abstention_precision = 0;                // share of its abstentions whose question was unanswerable
  double hit_rate = 0;
  double citation_precision = 0;  // citations that hold the gold answer, of all
  double citation_recall = 0;     // answerable questions with such a citation
  double ttft_ms_median = 0, total_ms_median = 0;
  // Of a config with a budget, of the answers that were begun: those it said would be in time, and of these those that were within the
  // budget, and within 1.15 times it.
  std::size_t budgeted = 0, fitted = 0, kept = 0, nearly_kept = 0;
  double reused_share = 0;                    // of prompt tokens
  std::map<std::string, double> stages_mean;  // milliseconds a question; a stage that did not run counts 0
  // Beside the reference, the first none (else exact) config with the same retrieval, k and layout; of the questions both have.
  std::size_t compared = 0;
  std::size_t same_tokens = 0;
  std::size_t same_tokens_of_16 = 0, of_16 = 0;  // among answers of at least 16 tokens
  std::size_t flipped = 0;                       // answers of other words
  std::size_t reference_right = 0;               // answerable questions whose reference answer contains gold
  std::size_t stayed_right = 0;                  // of them, those that still do
  double stayed_right_lower = 0;                 // lower 95 % bound of that rate
  std::size_t kl_tokens = 0;
  double kl_mean = 0, kl_p99 = 0, top1_agreement = 0;
};

// One summary per config. kind: only questions of that kind; empty: all.
std::vector<QaSummary> summarise(const std::vector<QaRow>& rows, const std::vector<QaConfig>& grid, const std::string& kind = {});
std::vector<QaSummary> summarise(const std::vector<QaRow>& rows, const std::vector<std::string>& configs, const std::string& kind = {});

// What a config's name says: "bm25", "chunks/int8", "k5/docs-first". A name of another form is all policy.
struct QaConfigName {
  std::string retrieval, policy, rest;
};
QaConfigName parse_config_name(std::string_view name);

// The config others are compared with; the config itself if there is none.
std::size_t reference_of(const std::vector<std::string>& configs, std::size_t config);
std::size_t reference_of(const std::vector<QaConfig>& grid, std::size_t config);

}  // namespace gritstone
