// Statistics of a collection's embeddings that are taken out of every vector, frozen when the collection is first embedded.
//
// A language model that was never tuned for embedding puts all texts into a narrow cone: a common mean and a few strong directions hide
// what distinguishes them ("all-but-the-top", Mu & Viswanath 2018).
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/matrix_view.h"

namespace gritstone {

struct EmbedStatistics {
  std::size_t samples = 0;                     // rows they were computed from
  std::vector<float> mean;                     // [dim]
  std::vector<std::vector<float>> components;  // [few][dim], orthonormal, strongest first; empty for z-scores
  std::vector<float> deviation;                // [dim] for z-scores (routing), otherwise empty

  bool operator==(const EmbedStatistics&) const = default;

  // row [dim]: minus the mean, minus its part along the components, or divided by the deviation; then L2 norm 1. A row that equals the mean
  // has no direction left and stays as it was.
  void apply(std::span<float> row) const;
};

// Components that a sample of n rows supports: a direction needs some 32 rows to be more than noise.
inline constexpr std::size_t kMaxComponents = 4;
constexpr std::size_t components_for(std::size_t samples) noexcept { return samples / 32 < kMaxComponents ? samples / 32 : kMaxComponents; }

// Mean and strongest `components` principal directions of `rows` [n, dim] (L2-normalised, not yet centred), by power iteration from fixed
// starts: the same rows give the same bits. Cost: about components * 60 * n * dim * 2 multiplications. REQUIRES: n >= 1.
EmbedStatistics mean_and_components(MatrixView<const float> rows, std::size_t components);

// Mean and standard deviation of every column; deviations below 1e-8 become 1. REQUIRES: n >= 1.
EmbedStatistics mean_and_deviation(MatrixView<const float> rows);

}  // namespace gritstone
