// What makes an embedding of what the engine returns for one text.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace gritstone {

// The row of one token in every layer's router probabilities, layer after layer: out [layers * experts].
//   router  [layers][tokens * experts]
// REQUIRES: out.size() == router.size() * experts and the token exists.
void gather_routing(std::span<const std::vector<float>> router, std::size_t experts, std::size_t token, std::span<float> out) noexcept;

// Scales the row to L2 norm 1. False, and the row unchanged, if it is zero or not finite.
bool normalise_l2(std::span<float> row) noexcept;

double dot(std::span<const float> a, std::span<const float> b) noexcept;  // REQUIRES: equal sizes

}  // namespace gritstone
