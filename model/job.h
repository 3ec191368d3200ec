// The one request type of the engine: embedding, prefill, decoding and scoring are all jobs.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <vector>

#include "base/kv_span.h"
#include "model/kernels/top_logits.h"
#include "model/token.h"

namespace gritstone {

enum class Attention : std::uint8_t { kCausal, kBidirectional };
enum class Priority : std::uint8_t { kDecode, kInteractive, kBulk };  // lower runs first

// Which slots a token may see goes by group: group 0 (the shared head) is seen by all; a token of group g > 0 sees groups 0 and g;
// kSeesAll (the question, the answer) sees every group.
using Group = std::int32_t;
inline constexpr Group kSeesAll = -1;

// KV states computed before: tokens [offset, offset + length) of `span` occupy slots [slot, slot + length) and are rotated to positions
// [position, position + length).
struct Segment {
  std::shared_ptr<const KvSpan> span;
  std::size_t offset = 0;
  std::size_t length = 0;
  std::size_t slot = 0;
  std::size_t position = 0;
  Group group = 0;
};

// A stretch of live tokens that share a group: tokens [first, first + count) of Job::tokens at consecutive slots and positions.
struct TokenRun {
  std::size_t first = 0;
  std::size_t count = 0;
  std::size_t slot = 0;
  std::size_t position = 0;
  Group group = kSeesAll;
};

// What the job returns, per live token. Rows are in token order.
struct Wants {
  // Hidden states after layer N (0: embeddings; N = layers: after the last), f32 [tokens, hidden] each.
  std::vector<std::size_t> hidden_after;
  // Final-norm hidden state after layer `embed_layer`: what embeddings pool. The job then computes no further layer unless logits are
  // wanted.
  std::optional<std::size_t> normed_after;
  // Of these states only their weighted mean over tokens [first, first + count), in JobOutput::pooled instead of ::normed: weights 1, or 1,
  // 2, .. count if `rising`. On a GPU 8 bytes a column then cross the bus for a text instead of 4 for every token.
  struct Pool {
    std::size_t first = 0;
    std::size_t count = 0;
    bool rising = false;
  };
  std::optional<Pool> pool;
  bool router = false;  // probabilities over all experts, f32 [layers computed][tokens, experts]
  enum class Logits { kNone, kLast, kAll, kRows } logits = Logits::kNone;
  std::vector<std::size_t> logit_rows;  // with kRows: token indexes, ascending
  // More than 0: of each of these rows only the so many largest, in JobOutput::top instead of ::logits; at most kMaxTopLogits. On a GPU a
  // row then costs the bus 8 bytes for each instead of 4 for every token of the vocabulary, and nobody searches it.
  std::size_t top_logits = 0;
  // KV of live tokens [first, first + count), which lie in consecutive slots, as a span of `type`. Taken when the job ends, so that saving
  // delays no first token.
  struct Kv {
    std::size_t first = 0;
    std::size_t count = 0;
    KvType type = KvType::kBF16;
  };
  std::vector<Kv> kv;
  // K (after its norm, before RoPE) and V of layer N in f32, for comparison with a span's. The job then computes layers [0, N) and N's
  // projections only, unless more is wanted.
  std::optional<std::size_t> kv_probe;
};

struct JobOutput {
  std::size_t tokens = 0;                         // live tokens computed in this output
  std::vector<std::vector<float>> hidden;         // [hidden_after.size()][tokens * hidden]
  std::vector<float> normed;                      // [tokens * hidden]; empty with Wants::pool
  std::vector<float> pooled;                      // [hidden], with Wants::pool
  std::vector<std::vector<float>> router;         // [layers][tokens * experts]
  std::vector<float> logits;                      // [rows * vocab]; empty with Wants::top_logits
  std::vector<TopLogit> top;                      // [rows * Wants::top_logits], as top_logits() gives them (model/kernels/top_logits.h)
  std::vector<std::shared_ptr<const KvSpan>> kv;  // as wanted; in the job's last output only
  std::vector<float> probe;                       // [tokens, 2 * kv_width]: K, then V
  // Seconds from submit to admission, of loading the context's spans, and of compute since.
  double queued_seconds = 0;
  double load_seconds = 0;
  double compute_seconds = 0;
};

// What a job does after its tokens were computed: the KV stays, `keep` slots of it (all, or fewer to take back rejected drafts), and
// `tokens` are appended as kSeesAll live tokens. Returning nullopt ends the job.
struct NextTokens {
  std::vector<TokenId> tokens;
  std::optional<std::size_t> keep_slots;
  Wants::Logits logits = Wants::Logits::kLast;
  std::size_t top_logits = 0;  // as Wants::top_logits, which it replaces
};

struct Job {
  std::vector<Segment> context;
  std::vector<TokenId> tokens;  // at least one
  // Where the tokens go. Empty: one run behind the context (slot and position follow the last segment), group kSeesAll.
  std::vector<TokenRun> runs;
  Attention attention = Attention::kCausal;
  Wants wants;
  Priority priority = Priority::kInteractive;
  std::optional<std::chrono::steady_clock::time_point> deadline;
  std::stop_token cancel;
  // Slots the sequence may grow to, for `next`; 0: just the slots of context and tokens. Reserved at admission, so a running job never
  // fails for want of KV pages.
  std::size_t max_slots = 0;
  // Called on the engine's thread after the tokens were computed, so that decoding of all jobs stays in one batch. Must be quick
  // (sampling), must not call the engine. An exception ends the job with it.
  std::function<std::optional<NextTokens>(const JobOutput&)> next;
};

}  // namespace gritstone
