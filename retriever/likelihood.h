// How likely a question is after a passage: relevance without a model that was tuned for it.
#pragma once

#include <chrono>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
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

}  // namespace gritstone
