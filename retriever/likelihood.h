// How likely a question is after a passage: relevance without a model that was tuned for it.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "model/engine.h"
#include "model/tokenizer.h"

namespace gritstone {

struct LikelihoodRequest {
  std::string question;                   // UTF-8, at least one token
  std::span<const std::string> passages;  // borrowed until return
  std::optional<std::chrono::steady_clock::time_point> deadline;
  std::stop_token cancel;
};

struct LikelihoodResult {
  std::vector<double> scores;  // of each passage: mean log-probability of the question's tokens, <= 0; larger fits better
  std::size_t tokens = 0;      // computed
};

// One forward pass a passage, batched by the engine, as many at a time as their logits fit into kLikelihoodBytes (a question of 20 tokens
// needs 4 MB a passage with OLMoE's vocabulary), at most 16. Passages that leave no room for the question are cut at their end. Source:
// Sachan et al. 2022, "Improving Passage Retrieval with Zero-Shot Question Generation". Thread-safe. Throws Error: kInvalidArgument (no
// question, or one as long as the context); kCancelled; kDeadline; what the engine throws.
inline constexpr std::size_t kLikelihoodBytes = std::size_t{64} << 20;
LikelihoodResult question_likelihood(Engine& engine, const Tokenizer& tokenizer, const LikelihoodRequest& request);

// Tokens of the question, and of what stands between a passage and it.
std::vector<TokenId> likelihood_question(const Tokenizer& tokenizer, std::string_view question);
std::vector<TokenId> likelihood_bridge(const Tokenizer& tokenizer);

// What a question stands behind: states computed before, and tokens to compute. `runs` as in Job; with runs the question continues the
// last.
struct LikelihoodPrefix {
  std::vector<Segment> context;
  std::vector<TokenId> tokens;  // at least one
  std::vector<TokenRun> runs;
};

// The same for prefixes of any kind: prefix(i) is asked for once, in order, when job i is submitted.
LikelihoodResult likelihood_behind(Engine& engine, std::span<const TokenId> question, std::size_t count,
                                   const std::function<LikelihoodPrefix(std::size_t)>& prefix,
                                   std::optional<std::chrono::steady_clock::time_point> deadline, const std::stop_token& cancel);

}  // namespace gritstone
