// Rows of logits with everything a selection can trip over, and their largest by a sort.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <span>
#include <vector>

#include "model/kernels/top_logits.h"

namespace gritstone {

enum class RowKind { kNormal, kTies, kEqual, kSpoilt, kFew, kNothing, kNegative, kRising };
inline constexpr RowKind kRowKinds[] = {RowKind::kNormal, RowKind::kTies,    RowKind::kEqual,    RowKind::kSpoilt,
                                        RowKind::kFew,    RowKind::kNothing, RowKind::kNegative, RowKind::kRising};

inline std::vector<float> logit_row(RowKind kind, std::size_t vocab, std::mt19937& random) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  const float nan = std::nanf("");
  const float odd[] = {kInf, -kInf, nan, -nan, 0.0f, -0.0f, 1e-42f, -1e-42f, 3e38f, -3e38f};
  std::normal_distribution<float> normal(0, 4);
  std::uniform_int_distribution<int> few(-3, 3);
  std::uniform_int_distribution<std::size_t> any(0, vocab - 1);
  std::vector<float> row(vocab);
  for (std::size_t i = 0; i < vocab; ++i) {
    switch (kind) {
      case RowKind::kTies:
        row[i] = static_cast<float>(few(random)) * (i % 2 == 0 ? 1.0f : -1.0f);  // both zeros among them
        break;
      case RowKind::kEqual:
        row[i] = 2.5f;
        break;
      case RowKind::kFew:
      case RowKind::kNothing:
        row[i] = i % 3 == 0 ? nan : i % 3 == 1 ? kInf : -kInf;
        break;
      case RowKind::kNegative:
        row[i] = -std::abs(normal(random)) - 1;
        break;
      case RowKind::kRising:
        row[i] = static_cast<float>(i) * 1e-3f;
        break;
      default:
        row[i] = normal(random);
    }
  }
  if (kind == RowKind::kSpoilt) {
    for (std::size_t i = 0; i < vocab / 2; ++i) row[any(random)] = odd[random() % std::size(odd)];
  }
  if (kind == RowKind::kFew) {
    for (int i = 0; i < 5; ++i) row[any(random)] = normal(random);
  }
  return row;
}

inline std::vector<TopLogit> sorted_top(std::span<const float> row, std::size_t k) {
  std::vector<TopLogit> all;
  for (std::size_t i = 0; i < row.size(); ++i) {
    if (std::isfinite(row[i])) all.push_back({static_cast<std::int32_t>(i), row[i]});
  }
  const std::size_t held = std::min(k, all.size());
  std::partial_sort(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(held), all.end(),
                    [](const TopLogit& a, const TopLogit& b) { return a.logit != b.logit ? a.logit > b.logit : a.id < b.id; });
  all.resize(held);
  all.resize(k, TopLogit{-1, -std::numeric_limits<float>::infinity()});
  return all;
}

}  // namespace gritstone
