#include "retriever/reranker.h"

#include <algorithm>

#include "base/error.h"

namespace gritstone {

std::vector<double> interpolate(std::span<const double> first, std::span<const double> second, double weight) {
  GS_CHECK(first.size() >= second.size());
  std::vector<double> mixed(first.size());
  if (second.empty()) return {first.begin(), first.end()};
  const auto [second_worst, second_best] = std::ranges::minmax(second);
  const double best = first.front(), worst = first[second.size() - 1];
  for (std::size_t i = 0; i < first.size(); ++i) {
    const bool rest = i >= second.size();
    double normalised = best > worst ? (first[i] - worst) / (best - worst) : rest ? first[i] - worst : 1.0;
    if (!rest)
      normalised = (1 - weight) * normalised +
                   weight * (second_best > second_worst ? (second[i] - second_worst) / (second_best - second_worst) : 1.0);
    mixed[i] = normalised;
  }
  return mixed;
}

}  // namespace gritstone
