// One generation on the engine: prompt tokens in, text out as it is written, with the reason it ended and what it cost.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "generator/sampler.h"
#include "model/engine.h"
#include "model/tokenizer.h"

namespace gritstone {

struct GenerateRequest {
  std::vector<TokenId> prompt;   // live tokens; at least one
  std::vector<Segment> context;  // spans computed before, in front of the prompt
  std::vector<TokenRun> runs;    // as Job::runs
  std::vector<Wants::Kv> save;   // states of the prompt to return
  std::size_t max_new_tokens = 256;
  // Tokens that the text may quote, usually the prompt's: drafts are taken from there. Empty: plain decoding. The text is the same.
  std::vector<TokenId> draft_source;
  SamplerOptions sampling;
  std::vector<TokenId> stop_ids;          // not part of the text
  std::vector<std::string> stop_strings;  // not part of the text
  bool ignore_stops = false;              // benchmarks: always max_new_tokens
  // Called with valid UTF-8 that will not be taken back, on the engine's thread: no thread has to wake up between a token and its reader,
  // but all jobs wait while it runs. An exception ends the generation with it.
  std::function<void(std::string_view)> on_text;
  Priority priority = Priority::kInteractive;
  std::optional<std::chrono::steady_clock::time_point> deadline;
  std::stop_token cancel;
};

enum class FinishReason { kStop, kLength };
std::string_view finish_reason_name(FinishReason reason) noexcept;  // "stop", "length": OpenAI's words

struct Usage {
  std::size_t prompt_tokens = 0;      // reused ones included
  std::size_t completion_tokens = 0;  // sampled, the stop token included
  std::size_t cached_tokens = 0;      // of the prompt, from `context`
};

struct DraftCounts {
  std::size_t steps = 0;     // of decoding, the first token's included
  std::size_t proposed = 0;  // draft tokens checked
  std::size_t accepted = 0;
};

// Milliseconds. TTFT counts from the call, TPOT = (total - ttft) / (tokens - 1), absent for fewer than two tokens.
struct GenerateTimings {
  double queue_ms = 0;
  double load_ms = 0;  // spans of the context into their slots
  double prefill_ms = 0;
  double ttft_ms = 0;
  double decode_ms = 0;
  double total_ms = 0;
  std::optional<double> tpot_ms;
};

struct GenerateResult {
  std::string text;
  std::vector<TokenId> ids;  // without the stop token
  FinishReason finish_reason = FinishReason::kLength;
  Usage usage;
  DraftCounts drafts;
  GenerateTimings timings;
  std::vector<std::shared_ptr<const KvSpan>> saved;  // in the order of GenerateRequest::save
};

// Blocks until the text is complete; sampling happens on the engine's thread, so decoding stays in one batch with other jobs.
// Throws Error: kInvalidArgument (empty prompt, sampler options, prompt + max_new_tokens over the model's context), kCancelled, kDeadline,
// kMemoryBudget, or what the engine or on_text threw.
GenerateResult generate(Engine& engine, const Tokenizer& tokenizer, GenerateRequest request);

}  // namespace gritstone
