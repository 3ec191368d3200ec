// The largest logits of a row: all that a greedy choice or a top-k needs of its 50,304.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace gritstone {

inline constexpr std::size_t kMaxTopLogits = 256;

struct TopLogit {
  std::int32_t id = -1;  // a TokenId; -1: nothing here, the row has fewer finite logits; `logit` is then -inf
  float logit = 0;

  bool operator==(const TopLogit&) const = default;
};

// The top.size() largest finite logits of the row, best first, ties (0 and -0 are one value) by the lower id; then nothing. Infinities and
// NaN are skipped, as the sampler skips them: a row without a finite logit gives nothing but "nothing".
void top_logits(std::span<const float> row, std::span<TopLogit> top);

}  // namespace gritstone
