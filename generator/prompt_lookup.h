// Drafts from the prompt: an answer that quotes a passage is continued as the passage goes on (prompt lookup decoding, Saxena 2023). The
// model checks a draft in one batch, so that the text is the same as without.
#pragma once

#include <cstddef>
#include <span>
#include <unordered_map>
#include <vector>

#include "model/token.h"

namespace gritstone {

// Not thread-safe.
class PromptLookup {
 public:
  // source: the tokens of question and passages.
  explicit PromptLookup(std::vector<TokenId> source);

  // What followed the last occurrence in the source of the longest suffix of `text` (four tokens at most, two at least); at most `limit`
  // tokens, none if there is no such place.
  std::vector<TokenId> propose(std::span<const TokenId> text, std::size_t limit) const;

 private:
  std::vector<TokenId> source_;
  std::unordered_multimap<std::uint64_t, std::size_t> pairs_;  // two tokens -> index behind them
};

// How long a draft pays: learns how often drafts come true and what checking one more token costs, and proposes the length with the most
// tokens per second; 0 where plain decoding is faster. Affects speed only, never the text.
class DraftLength {
 public:
  static constexpr std::size_t kMax = 8;

  std::size_t next() noexcept;
  // A step checked `proposed` drafts, of which the first `accepted` held, in `seconds`.
  void record(std::size_t proposed, std::size_t accepted, double seconds) noexcept;

 private:
  double chance_ = 0.7;        // of the next draft token to hold
  double token_cost_ = 0.3;    // of one more token, in steps of one token
  double single_seconds_ = 0;  // a step of one token; 0: not seen yet
  std::size_t since_trial_ = 0;
};

}  // namespace gritstone
