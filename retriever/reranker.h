// A second, slower look at the best passages.
#pragma once

#include <span>
#include <stop_token>
#include <string_view>
#include <vector>

#include "index/store.h"

namespace gritstone {

// Weight of the second score. nDCG@10 of fused search on the sample questions, SmolLM2, the best 20 of each: 0.959 without, 0.974 at 0.25,
// 0.981 at 0.5 (docs/results/retrieval.md).
inline constexpr double kRerankWeight = 0.5;

// How well each passage explains a query.
class Reranker {
 public:
  virtual ~Reranker() = default;
  // One score a passage, larger fits better; comparable within one call. Throws Error(kCancelled) and what the model throws.
  virtual std::vector<double> score(std::string_view query, std::span<const ChunkRecord* const> passages,
                                    const std::stop_token& cancel) const = 0;
};

// (1 - weight) * first + weight * second, both min-max normalised over the passages that were scored twice: the first second.size() ones.
// The rest keeps its place behind them: its first score on the same scale, which is 0 or less. Scores that are all equal become 1.
//   first  best first; at least as many as `second`
std::vector<double> interpolate(std::span<const double> first, std::span<const double> second, double weight);

}  // namespace gritstone
