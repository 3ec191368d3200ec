// In what order lanes, warps and blocks take their turns.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <numeric>
#include <random>
#include <string_view>
#include <vector>

namespace emulation {

using Order = std::vector<unsigned>;

// kind 0: forward, 1: reverse, 2: shuffled.
inline Order make_order(std::size_t n, unsigned kind, unsigned seed) {
  Order order(n);
  std::iota(order.begin(), order.end(), 0u);
  if (kind == 1) std::reverse(order.begin(), order.end());
  if (kind == 2) std::shuffle(order.begin(), order.end(), std::minstd_rand(seed + 1));
  return order;
}

// The kind for the n-th of several.
inline unsigned order_kind(unsigned count) {
  static const int fixed = [] {
    const char* name = std::getenv("GRITSTONE_EMULATION_ORDER");
    if (name == nullptr) return -1;
    return std::string_view(name) == "forward" ? 0 : std::string_view(name) == "reverse" ? 1 : 2;
  }();
  return fixed >= 0 ? static_cast<unsigned>(fixed) : count % 3;
}

}  // namespace emulation
