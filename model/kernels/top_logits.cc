#include "model/kernels/top_logits.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace gritstone {

void top_logits(std::span<const float> row, std::span<TopLogit> top) {
  if (top.empty()) return;
  const auto before = [](const TopLogit& a, const TopLogit& b) { return a.logit != b.logit ? a.logit > b.logit : a.id < b.id; };
  // A heap with the worst of the best at the front: almost every logit of a row falls to one comparison with it. A later id must be larger.
  std::size_t held = 0;
  for (std::size_t i = 0; i < row.size(); ++i) {
    const float logit = row[i];
    if (held == top.size() && !(logit > top[0].logit)) continue;
    if (!std::isfinite(logit)) continue;
    const TopLogit entry{static_cast<std::int32_t>(i), logit};
    if (held < top.size()) {
      top[held++] = entry;
    } else {
      std::pop_heap(top.begin(), top.end(), before);
      top.back() = entry;
    }
    std::push_heap(top.begin(), top.begin() + static_cast<std::ptrdiff_t>(held), before);
  }
  std::sort_heap(top.begin(), top.begin() + static_cast<std::ptrdiff_t>(held), before);
  std::fill(top.begin() + static_cast<std::ptrdiff_t>(held), top.end(), TopLogit{-1, -std::numeric_limits<float>::infinity()});
}

}  // namespace gritstone
