// The codecs behind dtype.h, one pair per block type. All rows are byte streams: no alignment is assumed.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace gritstone::blocks {

inline constexpr std::size_t kSmall = 32;   // elements of a Q4_0 .. Q8_0 block
inline constexpr std::size_t kSuper = 256;  // elements of a K super-block

inline std::uint16_t load_u16(const std::uint8_t* p) noexcept { return static_cast<std::uint16_t>(p[0] | p[1] << 8); }
inline void store_u16(std::uint8_t* p, std::uint16_t v) noexcept {
  p[0] = static_cast<std::uint8_t>(v & 0xFF);
  p[1] = static_cast<std::uint8_t>(v >> 8);
}

// Q4_K and Q5_K pack eight (scale, min) pairs of 6 bits into 12 bytes: pairs 0-3 in the low six bits of bytes 0-3 and 4-7; pairs 4-7 have
// their low nibbles in bytes 8-11 and their top two bits in what bytes 0-7 leave free.
struct ScaleMin {
  std::uint8_t scale;
  std::uint8_t min;
};
inline ScaleMin load_scale_min(const std::uint8_t* packed, std::size_t j) noexcept {
  if (j < 4) return {static_cast<std::uint8_t>(packed[j] & 63), static_cast<std::uint8_t>(packed[j + 4] & 63)};
  return {static_cast<std::uint8_t>((packed[j + 4] & 15) | (packed[j - 4] >> 6) << 4),
          static_cast<std::uint8_t>((packed[j + 4] >> 4) | (packed[j] >> 6) << 4)};
}

// Each handles `blocks` consecutive blocks.
void dequantize_q4_0(const std::uint8_t* in, float* out, std::size_t blocks) noexcept;
void dequantize_q4_1(const std::uint8_t* in, float* out, std::size_t blocks) noexcept;
void dequantize_q5_0(const std::uint8_t* in, float* out, std::size_t blocks) noexcept;
void dequantize_q5_1(const std::uint8_t* in, float* out, std::size_t blocks) noexcept;
void dequantize_q8_0(const std::uint8_t* in, float* out, std::size_t blocks) noexcept;
void dequantize_q2_k(const std::uint8_t* in, float* out, std::size_t blocks) noexcept;
void dequantize_q3_k(const std::uint8_t* in, float* out, std::size_t blocks) noexcept;
void dequantize_q4_k(const std::uint8_t* in, float* out, std::size_t blocks) noexcept;
void dequantize_q5_k(const std::uint8_t* in, float* out, std::size_t blocks) noexcept;
void dequantize_q6_k(const std::uint8_t* in, float* out, std::size_t blocks) noexcept;

// Each rounds one block of finite values.
void quantize_q4_0(const float* x, std::uint8_t* out) noexcept;
void quantize_q4_1(const float* x, std::uint8_t* out) noexcept;
void quantize_q5_0(const float* x, std::uint8_t* out) noexcept;
void quantize_q5_1(const float* x, std::uint8_t* out) noexcept;
void quantize_q8_0(const float* x, std::uint8_t* out) noexcept;
void quantize_q2_k(const float* x, std::uint8_t* out) noexcept;
void quantize_q3_k(const float* x, std::uint8_t* out) noexcept;
void quantize_q4_k(const float* x, std::uint8_t* out) noexcept;
void quantize_q5_k(const float* x, std::uint8_t* out) noexcept;
void quantize_q6_k(const float* x, std::uint8_t* out) noexcept;

// f16 bits of a scale; saturates at the largest finite f16, because an infinite scale would turn the whole block into NaN.
std::uint16_t scale_to_f16(float value) noexcept;

}  // namespace gritstone::blocks
