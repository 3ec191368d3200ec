// A question answered from a collection: retrieve, put the passages before the model, generate, show the ground.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "generator/abstention.h"
#include "generator/citations.h"
#include "generator/generate.h"
#include "generator/prompt_format.h"
#include "index/store.h"
#include "pipelines/model_parts.h"
#include "pipelines/prompt_composer.h"
#include "pipelines/start_planner.h"
#include "retriever/embed_options.h"
#include "retriever/embedder.h"
#include "retriever/search.h"

namespace gritstone {

struct AnswerOptions {
  // k: passages that are offered to the model. rerank without a reranker: by question likelihood over spans of `cache`.
  SearchOptions search;
  PromptLayout layout = PromptLayout::kDocsFirst;
  std::string instruction;  // empty: PromptFormat::default_instruction()
  // Of every passage at most so many tokens, the consecutive sentences nearest to the question; 0: whole passages.
  std::size_t passage_tokens = 0;
  std::size_t max_new_tokens = 256;
  SamplerOptions sampling;
  std::vector<std::string> stop_strings;
  AbstentionOptions abstention;
  bool abstain = true;  // false: always let the model answer
  // States computed before. Without a cache everything is computed, whatever the policy.
  SpanCache* cache = nullptr;
  ReusePolicy reuse;
  KvType span_type = KvType::kInt8;  // as ComposerOptions
  // Rows that search computed on demand, for storing them (keep_embeddings() in pipelines/embed_on_demand.h).
  std::function<void(ChunkId, std::span<const float> row)> on_embedded;
  // How the collection's embedder reads texts, where it is the model itself: then what embedding computes is kept for answering. A passage
  // embedded on demand leaves its span, the question the beginning of a query-first prompt (with a GRIT-tuned causal embedder).
  std::optional<EmbedOptions> embedding;
  // The first token is to come within it: then passages (at most search.k), their length and the policy (with reuse.automatic; otherwise
  // the one given) are those of the table's entry that promises most and starts in time.
  std::optional<StartBudget> budget;
  bool keep_trace = false;
  bool drafts = true;  // continue quotes from the passages, checked in one batch; the text is the same
  // Once, on the calling thread, with what was found.
  std::function<void(const SearchResult&)> on_retrieved;
  std::function<void(const BudgetReport&)> on_budget;  // before the first token, with what was chosen
  std::function<void(std::string_view)> on_text;  // as it is written, markers not yet checked; as GenerateRequest::on_text
  Priority priority = Priority::kInteractive;
  std::optional<std::chrono::steady_clock::time_point> deadline;
  std::stop_token cancel;

  AnswerOptions() {
    search.k = 5;
    // Greedy decoding of small models runs in circles; of the answer's own tokens only, so quoting a passage costs nothing.
    sampling.repetition_penalty = 1.1;
  }
};

// A passage that was found but is not in the prompt.
struct DroppedPassage {
  std::string path;
  std::string heading;
  std::size_t start = 0, end = 0;  // source bytes
  std::size_t tokens = 0;
  std::string reason;  // "does not fit into the context (4096 tokens)"
};

// A passage as it was numbered in the prompt, or shown as nearest when the answer abstained.
struct AnswerPassage {
  std::size_t n = 0;
  std::string path;
  std::string heading;
  std::size_t start = 0, end = 0;
  std::string text;
  double score = 0;
};

// Milliseconds; TTFT counts from the call of answer() and is 0 if nothing was generated.
struct AnswerTimings {
  double ttft_ms = 0;
  double retrieve_ms = 0, embed_ms = 0, bm25_ms = 0, vector_ms = 0, fuse_ms = 0, rerank_ms = 0;
  // compose: finding spans, computing missing ones, choosing what to compute again; load: spans into the live cache.
  double prompt_ms = 0, compose_ms = 0, queue_ms = 0, load_ms = 0, prefill_ms = 0, decode_ms = 0, cite_ms = 0, total_ms = 0;
  std::optional<double> tpot_ms;
};

struct ReuseReport {
  std::string policy = "none";
  std::size_t reused_tokens = 0;
  std::size_t recomputed_tokens = 0;
  std::uint64_t bytes = 0;
  std::optional<std::string> certificate;
  std::vector<PassageReuse> passages;  // in prompt order
};

// What was put before the model, and what it wrote: to score the answer again.
struct AnswerTrace {
  Prompt prompt;
  std::vector<PassageOwner> chunks;  // of the prompt's passages
  std::vector<TokenId> ids;          // written, without the stop token
  std::string text;
};

struct AnswerResult {
  std::string answer;  // with the markers that hold
  std::string plain;   // without markers
  std::vector<Citation> citations;
  std::vector<AnswerSentence> sentences;  // byte ranges of `answer`; which are supported
  // Nothing close enough was found, the model refused, or no passage supports any sentence it wrote: then `answer` is the refusal,
  // `withheld` what the model wrote, and `passages` are the nearest.
  bool abstained = false;
  std::string abstain_reason;
  std::string withheld;
  std::vector<AnswerPassage> passages;
  std::vector<DroppedPassage> dropped;
  FinishReason finish_reason = FinishReason::kStop;
  Usage usage;
  DraftCounts drafts;
  std::uint64_t generation = 0;  // of the collection that was read
  std::size_t damaged_chunks = 0;
  AnswerTimings timings;
  ReuseReport reuse;
  std::optional<BudgetReport> budget;
  std::optional<AnswerTrace> trace;  // with keep_trace, if anything was generated
};

// embedder: of the collection's manifest; null: BM25 alone. BM25's best two always are among the passages.
// Thread-safe. Throws Error: kInvalidArgument (empty question, the question alone exceeds the context), kCancelled, kDeadline, and what
// search() and generate() throw.
AnswerResult answer(const Snapshot& snapshot, const Embedder* embedder, const ModelParts& model, std::string_view question,
                    const AnswerOptions& options);

}  // namespace gritstone
