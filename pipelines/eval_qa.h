// Questions with gold answers, asked under every combination of reuse policy, span type, passages and layout: what each costs in answers
// and buys in milliseconds.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "pipelines/answer.h"
#include "pipelines/qa_questions.h"

namespace gritstone {

// One way of asking.
struct QaConfig {
  ReusePolicy reuse;
  KvType span_type = KvType::kInt8;  // of no effect under none and exact
  std::size_t k = 5;
  PromptLayout layout = PromptLayout::kDocsFirst;

  std::string name() const;  // "chunks/int8/k5/docs-first"; "none/k5/docs-first"
};

// All combinations, each once, `reuse` varying slowest.
std::vector<QaConfig> qa_grid(const std::vector<ReusePolicy>& reuse, const std::vector<KvType>& types, const std::vector<std::size_t>& ks,
                              const std::vector<PromptLayout>& layouts);

// What one question came to under one config. A line of the run file.
struct QaRow {
  std::string config;
  std::string id;
  std::string kind;
  bool answerable = true;
  std::string answer;  // as written, without markers
  double exact_match = 0, f1 = 0;
  bool contained = false;  // for an unanswerable question: abstained
  bool abstained = false;
  bool hit = false;              // a gold answer (or half of a gold span) stands in a passage that was put before the model
  std::size_t citations = 0;     // of the answer
  std::size_t citations_ok = 0;  // of them, those whose quoted text holds a gold answer or overlaps a gold span
  std::size_t prompt_tokens = 0, reused_tokens = 0, recomputed_tokens = 0, completion_tokens = 0;
  double ttft_ms = 0, total_ms = 0;
  std::string fingerprint;  // of the token ids written: equal for equal answers
  // Beside the grid's reference (reference_of()), where that was asked for.
  std::vector<float> kl;     // nats, per token of the reference answer
  std::size_t same_top = 0;  // of kl.size()
};

struct EvalQaOptions {
  std::vector<QaQuestion> questions;
  std::vector<QaConfig> grid;
  AnswerOptions answer;  // search, length, sampling, abstention and cache; what the grid says replaces k, reuse, span type and layout
  bool kl = false;       // score every reference answer again under every config
  // JSON lines, appended as answers come; what it holds already is not asked again. Empty: nothing is kept.
  std::filesystem::path run;
  std::function<void(std::size_t done, std::size_t total)> on_progress;  // questions
};

// Rows of all questions and configs, question by question, those read from `run` included.
// Throws Error: kInvalidArgument (no question, no config, `run` belongs to another model, collection or generation: nothing is
// overwritten), kCancelled (what is in `run` stays), kStorage; as answer().
std::vector<QaRow> eval_qa(const Snapshot& snapshot, const Embedder* embedder, const ModelParts& model, const EvalQaOptions& options);

struct QaSummary {
  std::string config;
  std::size_t questions = 0, answerable = 0;
  double exact_match = 0, f1 = 0, contained = 0;  // means over answerable questions
  double abstention = 0;                          // share of unanswerable questions that it abstained from
  double false_abstention = 0;                    // share of answerable ones
  double hit_rate = 0;
  double citation_precision = 0;  // citations that hold the gold answer, of all
  double citation_recall = 0;     // answerable questions with such a citation
  double ttft_ms_median = 0, total_ms_median = 0;
  double reused_share = 0;  // of prompt tokens
  // Beside the reference, the first none (else exact) config with the same k and layout; of the questions both have.
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

// One summary per config in order of first appearance. kind: only questions of that kind; empty: all.
std::vector<QaSummary> summarise(const std::vector<QaRow>& rows, const std::vector<QaConfig>& grid, const std::string& kind = {});
// The config others are compared with; the config itself if there is none before it.
std::size_t reference_of(const std::vector<QaConfig>& grid, std::size_t config);

}  // namespace gritstone
