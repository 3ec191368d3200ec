// Blocks of 32 with one scale: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0. Element j is in the low nibble of byte j, element j + 16 in its high nibble.
#include <algorithm>
#include <cmath>

#include "model/dtype.h"
#include "model/dtype_blocks.h"

namespace gritstone::blocks {
namespace {

constexpr std::size_t kHalf = kSmall / 2;

std::uint32_t load_u32(const std::uint8_t* p) noexcept { return load_u16(p) | static_cast<std::uint32_t>(load_u16(p + 2)) << 16; }
void store_u32(std::uint8_t* p, std::uint32_t v) noexcept {
  store_u16(p, static_cast<std::uint16_t>(v & 0xFFFF));
  store_u16(p + 2, static_cast<std::uint16_t>(v >> 16));
}

// The fifth bits of a Q5 block: bit j belongs to element j.
int fifth_bit(std::uint32_t high, std::size_t j) noexcept { return static_cast<int>(high >> j & 1) << 4; }

// The element of largest magnitude, with its sign.
float extreme(const float* x) noexcept {
  float best = 0.0f;
  for (std::size_t j = 0; j < kSmall; ++j) {
    if (std::fabs(x[j]) > std::fabs(best)) best = x[j];
  }
  return best;
}

// Rounds half up for positive values; `value` is offset so that it never is below 0.
int round_code(float value, int largest) noexcept { return std::clamp(static_cast<int>(value), 0, largest); }

}  // namespace

void dequantize_q4_0(const std::uint8_t* in, float* out, std::size_t blocks) noexcept {
  for (std::size_t b = 0; b < blocks; ++b, in += 18, out += kSmall) {
    const float d = f16_to_f32(load_u16(in));
    for (std::size_t j = 0; j < kHalf; ++j) {
      out[j] = static_cast<float>((in[2 + j] & 15) - 8) * d;
      out[j + kHalf] = static_cast<float>((in[2 + j] >> 4) - 8) * d;
    }
  }
}

void dequantize_q4_1(const std::uint8_t* in, float* out, std::size_t blocks) noexcept {
  for (std::size_t b = 0; b < blocks; ++b, in += 20, out += kSmall) {
    const float d = f16_to_f32(load_u16(in));
    const float m = f16_to_f32(load_u16(in + 2));
    for (std::size_t j = 0; j < kHalf; ++j) {
      out[j] = static_cast<float>(in[4 + j] & 15) * d + m;
      out[j + kHalf] = static_cast<float>(in[4 + j] >> 4) * d + m;
    }
  }
}

void dequantize_q5_0(const std::uint8_t* in, float* out, std::size_t blocks) noexcept {
  for (std::size_t b = 0; b < blocks; ++b, in += 22, out += kSmall) {
    const float d = f16_to_f32(load_u16(in));
    const std::uint32_t high = load_u32(in + 2);
    for (std::size_t j = 0; j < kHalf; ++j) {
      out[j] = static_cast<float>(((in[6 + j] & 15) | fifth_bit(high, j)) - 16) * d;
      out[j + kHalf] = static_cast<float>(((in[6 + j] >> 4) | fifth_bit(high, j + kHalf)) - 16) * d;
    }
  }
}

void dequantize_q5_1(const std::uint8_t* in, float* out, std::size_t blocks) noexcept {
  for (std::size_t b = 0; b < blocks; ++b, in += 24, out += kSmall) {
    const float d = f16_to_f32(load_u16(in));
    const float m = f16_to_f32(load_u16(in + 2));
    const std::uint32_t high = load_u32(in + 4);
    for (std::size_t j = 0; j < kHalf; ++j) {
      out[j] = static_cast<float>((in[8 + j] & 15) | fifth_bit(high, j)) * d + m;
      out[j + kHalf] = static_cast<float>((in[8 + j] >> 4) | fifth_bit(high, j + kHalf)) * d + m;
    }
  }
}

void dequantize_q8_0(const std::uint8_t* in, float* out, std::size_t blocks) noexcept {
  for (std::size_t b = 0; b < blocks; ++b, in += 34, out += kSmall) {
    const float d = f16_to_f32(load_u16(in));
    for (std::size_t j = 0; j < kSmall; ++j) out[j] = static_cast<float>(static_cast<std::int8_t>(in[2 + j])) * d;
  }
}

void quantize_q4_0(const float* x, std::uint8_t* out) noexcept {
  // The extreme value becomes code 0 (-8), which the other sign lacks: so the largest weight is represented without clipping.
  const float d = extreme(x) / -8.0f;
  const float inverse = d != 0.0f ? 1.0f / d : 0.0f;
  store_u16(out, scale_to_f16(d));
  for (std::size_t j = 0; j < kHalf; ++j) {
    const int low = round_code(x[j] * inverse + 8.5f, 15);
    const int high = round_code(x[j + kHalf] * inverse + 8.5f, 15);
    out[2 + j] = static_cast<std::uint8_t>(low | high << 4);
  }
}

void quantize_q4_1(const float* x, std::uint8_t* out) noexcept {
  const auto [low_at, high_at] = std::minmax_element(x, x + kSmall);
  const float minimum = *low_at;
  const float d = (*high_at - minimum) / 15.0f;
  const float inverse = d != 0.0f ? 1.0f / d : 0.0f;
  store_u16(out, scale_to_f16(d));
  store_u16(out + 2, scale_to_f16(minimum));
  for (std::size_t j = 0; j < kHalf; ++j) {
    const int low = round_code((x[j] - minimum) * inverse + 0.5f, 15);
    const int high = round_code((x[j + kHalf] - minimum) * inverse + 0.5f, 15);
    out[4 + j] = static_cast<std::uint8_t>(low | high << 4);
  }
}

void quantize_q5_0(const float* x, std::uint8_t* out) noexcept {
  const float d = extreme(x) / -16.0f;
  const float inverse = d != 0.0f ? 1.0f / d : 0.0f;
  store_u16(out, scale_to_f16(d));
  std::uint32_t fifth = 0;
  for (std::size_t j = 0; j < kHalf; ++j) {
    const int low = round_code(x[j] * inverse + 16.5f, 31);
    const int high = round_code(x[j + kHalf] * inverse + 16.5f, 31);
    out[6 + j] = static_cast<std::uint8_t>((low & 15) | (high & 15) << 4);
    fifth |= static_cast<std::uint32_t>(low >> 4) << j | static_cast<std::uint32_t>(high >> 4) << (j + kHalf);
  }
  store_u32(out + 2, fifth);
}

void quantize_q5_1(const float* x, std::uint8_t* out) noexcept {
  const auto [low_at, high_at] = std::minmax_element(x, x + kSmall);
  const float minimum = *low_at;
  const float d = (*high_at - minimum) / 31.0f;
  const float inverse = d != 0.0f ? 1.0f / d : 0.0f;
  store_u16(out, scale_to_f16(d));
  store_u16(out + 2, scale_to_f16(minimum));
  std::uint32_t fifth = 0;
  for (std::size_t j = 0; j < kHalf; ++j) {
    const int low = round_code((x[j] - minimum) * inverse + 0.5f, 31);
    const int high = round_code((x[j + kHalf] - minimum) * inverse + 0.5f, 31);
    out[8 + j] = static_cast<std::uint8_t>((low & 15) | (high & 15) << 4);
    fifth |= static_cast<std::uint32_t>(low >> 4) << j | static_cast<std::uint32_t>(high >> 4) << (j + kHalf);
  }
  store_u32(out + 4, fifth);
}

void quantize_q8_0(const float* x, std::uint8_t* out) noexcept {
  const float d = std::fabs(extreme(x)) / 127.0f;
  const float inverse = d != 0.0f ? 1.0f / d : 0.0f;
  store_u16(out, scale_to_f16(d));
  for (std::size_t j = 0; j < kSmall; ++j) {
    out[2 + j] = static_cast<std::uint8_t>(static_cast<std::int8_t>(std::clamp(std::round(x[j] * inverse), -127.0f, 127.0f)));
  }
}

}  // namespace gritstone::blocks
