// Quantised rows in one shape for all block types: integer codes with a scale and a minimum per group. A device needs kernels for four such
// formats instead of ten block types.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "model/dtype.h"

namespace gritstone {

// Element = min + scale * code, scale and min as f16.
struct AffineFormat {
  unsigned bits = 8;       // 4: codes 0 .. 15; 8: signed codes
  std::size_t group = 32;  // elements that share a pair: 16 or 32
  bool operator==(const AffineFormat&) const = default;
};

// The narrowest format that holds the type's codes as they are; nullopt for f32, f16 and bf16.
std::optional<AffineFormat> affine_format(DType type) noexcept;
// The narrowest that holds both: matrices of one product may have different types.
AffineFormat common_format(const AffineFormat& a, const AffineFormat& b) noexcept;

constexpr std::size_t affine_code_bytes(const AffineFormat& format, std::size_t cols) noexcept { return cols * format.bits / 8; }

// Converts a row of n elements. REQUIRES: `format` holds affine_format(type); n is a multiple of the type's block.
//   codes  affine_code_bytes: 8 bits: element by element; 4 bits: 16 bytes per 32 elements, element i of the first sixteen in the low
//          nibble of byte i, element 16 + i in the high one
//   pairs  [n / group] {scale, min} as f16 bits
// What changes is that scales and mins are rounded to f16 (relative 2^-11), where a K type has a product of an f16 and a small integer.
void affine_row(DType type, const std::uint8_t* row, std::size_t n, const AffineFormat& format, std::uint8_t* codes,
                std::uint16_t* pairs) noexcept;

}  // namespace gritstone
