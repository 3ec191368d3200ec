// Token states of one text to one row.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/matrix_view.h"

namespace gritstone {

// Rows [first, first + count) of `states` [tokens, width] averaged into `out` [width]; sums in double, in token order.
// REQUIRES: count >= 1 and the rows exist.
void pool_mean(MatrixView<const float> states, std::size_t first, std::size_t count, std::span<float> out) noexcept;
// The same with weights 1, 2, ..., count: under causal attention later tokens have seen more of the text.
void pool_weighted_mean(MatrixView<const float> states, std::size_t first, std::size_t count, std::span<float> out) noexcept;

// The row of one token in every layer's router probabilities, layer after layer: out [layers * experts].
//   router  [layers][tokens * experts]
// REQUIRES: out.size() == router.size() * experts and the token exists.
void gather_routing(std::span<const std::vector<float>> router, std::size_t experts, std::size_t token, std::span<float> out) noexcept;

// Scales the row to L2 norm 1. False, and the row unchanged, if it is zero or not finite.
bool normalise_l2(std::span<float> row) noexcept;

double dot(std::span<const float> a, std::span<const float> b) noexcept;  // REQUIRES: equal sizes

}  // namespace gritstone
