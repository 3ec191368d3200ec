// Whether what was retrieved can hold an answer at all.
//
// First cut, from words alone: how many of the question's terms the passages hold. The likelihood gain of the answer (docs/ARCHITECTURE.md)
// joins it with the grounding work.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace gritstone {

struct AbstentionOptions {
  // Below this share of the question's terms in the best passage there is no lexical support. Words alone separate badly, so it is set to
  // refuse almost nothing that can be answered: on the sample questions 3 of 36 unanswerable ones and 1 of 170 others fall below 0.2, while
  // 0.34 would catch 11 and lose 33.
  double min_coverage = 0.2;
  // Cosine of the best hit that counts as support of its own; only meaningful for a tuned embedder, so off (> 1) by default.
  double min_cosine = 2.0;
};

struct AbstentionSignals {
  double coverage = 0;  // largest share, over passages, of the question's terms in one passage, 0..1
  double cosine = -1;   // of the best hit; -1 if there is no dense score
};

// Share of the question's terms (stemmed, without stop words) that each passage holds; the largest of them, 0 without passages.
// Thread-safe. Throws Error(kInvalidArgument) for an unknown language.
double question_coverage(std::string_view question, std::span<const std::string> passages, const std::string& language);

// True if neither signal reaches its threshold.
bool lacks_support(const AbstentionSignals& signals, const AbstentionOptions& options) noexcept;

// True if the answer is the model's own refusal: it says that the documents, passages or context do not hold the answer.
bool is_refusal(std::string_view answer);

}  // namespace gritstone
