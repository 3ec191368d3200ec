// Element types of weights as files store them, and their conversion to and from f32.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace gritstone {

// Values are GGUF's ggml_type numbers.
enum class DType : std::uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ2_K = 10,
  kQ3_K = 11,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kBF16 = 30,
};

// Elements that share one block, and bytes of a block: Q4_K {256, 144}, Q8_0 {32, 34}, F32 {1, 4}.
struct DTypeTraits {
  std::string_view name;  // "q4_k"
  std::size_t block;
  std::size_t bytes;
};
const DTypeTraits& traits(DType type) noexcept;

std::optional<DType> dtype_from_ggml(std::uint32_t ggml_type) noexcept;
std::optional<DType> dtype_from_name(std::string_view name) noexcept;  // "q4_k", "Q4_K", "bf16"

// Bytes of a row of n elements. REQUIRES: n is a multiple of traits(type).block.
std::size_t row_bytes(DType type, std::size_t n) noexcept;

// Exact value of every element as f32 (up to f32 rounding of scale * q). REQUIRES: n is a multiple of the block.
void dequantize_row(DType type, const std::uint8_t* row, float* out, std::size_t n) noexcept;

// Rounds n f32 values into the type's blocks; importance-free rounding in the manner of llama.cpp's reference quantisers.
// Non-finite input counts as 0. REQUIRES: n is a multiple of the block.
void quantize_row(DType type, const float* values, std::uint8_t* out, std::size_t n) noexcept;

float f16_to_f32(std::uint16_t bits) noexcept;
std::uint16_t f32_to_f16(float value) noexcept;  // round to nearest even
inline float bf16_to_f32(std::uint16_t bits) noexcept {
  const std::uint32_t wide = static_cast<std::uint32_t>(bits) << 16;
  float value;
  __builtin_memcpy(&value, &wide, 4);
  return value;
}
std::uint16_t f32_to_bf16(float value) noexcept;  // round to nearest even

}  // namespace gritstone
