// Activation scales: the one rule every quantize_rows follows.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>

namespace gritstone::quantize {

struct GroupScale {
  float scale;    // stored; x ~ scale * q
  float inverse;  // q = round_to_nearest_even(x * inverse); 0: every q of the group is 0
};

// `max_bits`: the largest of the group's f32 bit patterns without their sign bits, so that NaN > Inf > any number on every ISA.
//   Inf or NaN in the group: scale NaN, so that the outputs that read it become NaN instead of silently wrong.
//   all |x| < 2^-100: scale 0 (127 / max could overflow).
inline GroupScale group_scale(std::uint32_t max_bits) noexcept {
  constexpr std::uint32_t kInfinity = 0x7F800000u;
  if (max_bits >= kInfinity) return {std::numeric_limits<float>::quiet_NaN(), 0.0f};
  const float max = std::bit_cast<float>(max_bits);
  if (max < 0x1p-100f) return {0.0f, 0.0f};
  return {max / 127.0f, 127.0f / max};
}

}  // namespace gritstone::quantize
