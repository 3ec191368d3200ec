// How a packed panel lies in memory, and the one formula that every panel kernel computes. pack.cc writes it, matmul_<isa>*.cc read it.
//
// A panel holds 16 rows of W: a scale region, padded to 64 bytes, then a plane region of plane_bytes() per 32 columns. One 64-byte vector
// is [16 rows][4 codes along K], a "quad": lane = output row, so vpdpbusd adds four products to every row's sum at once. Codes are
// unsigned.
//
//   planes per 32 columns (8 quads, k = 4 * quad + byte):
//     base 8 bits  8 vectors: quad j
//     base 4 bits  4 vectors: quad j in the low nibble, quad j + 4 in the high nibble
//     base 2 bits  2 vectors: quad 4 j + i in bits 2i..2i+1
//     high 1 bit   1 vector:  quad j in bit j           (added above the base bits)
//     high 2 bits  2 vectors: quad 4 j + i in bits 2i..2i+1
//   scales per block:
//     f16 d[16], f16 m[16] if affine (K types: -dmin, so that every affine type adds), and for super-blocks i8 scale[groups][16] and, if
//     affine, i8 min[groups][16]
//
// For a group g of `group` columns, with a = activation scale, codes u, activations q:
//     s = d * scale[g], m = m * min[g]            (f32; exact: 11 + 8 bits)
//     symmetric: y = fma(float(sum(u q) - zero_point * sum(q)), s * a, y)
//     affine:    y = fma(float(sum(u q)), s * a, y);  y = fma(m, a * float(sum(q)), y)
// in ascending g. The integers are exact, so the order of f32 operations is all that fixes the bits.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "model/dtype.h"
#include "model/kernels/matmul.h"

namespace gritstone::panel {

struct Format {
  DType type;
  int base_bits;   // 8, 4 or 2
  int high_bits;   // 0, 1 or 2
  int group;       // columns under one scale: 32, or 16
  int block;       // columns of a file block: 32, or 256 for super-blocks
  bool affine;     // has a minimum
  int zero_point;  // symmetric types: the code of 0

  constexpr bool super() const { return block == 256; }
  constexpr std::size_t plane_bytes() const { return static_cast<std::size_t>(64 * (base_bits + high_bits)); }      // per 32 columns
  constexpr std::size_t head_bytes() const { return affine ? 64 : 32; }                                             // f16 d, m of a block
  constexpr std::size_t groups() const { return static_cast<std::size_t>(block / group); }                          // per block
  constexpr std::size_t scale_bytes() const { return head_bytes() + (super() ? groups() * head_bytes() / 2 : 0); }  // per block
  constexpr std::size_t scale_region(std::size_t cols) const {
    return (cols / static_cast<std::size_t>(block) * scale_bytes() + 63) / 64 * 64;
  }
  constexpr std::size_t panel_bytes(std::size_t cols) const { return scale_region(cols) + cols / 32 * plane_bytes(); }
};

// Bits per weight at 2048 columns (file): Q4_K 4.625 (4.5), Q5_K 5.625 (5.5), Q6_K 6.5625, Q3_K 3.5625 (3.4375), Q2_K 3.125 (2.625: its
// 4-bit scales and minima take a byte each); the 32-block types as in the file.
inline constexpr Format kQ4_0{DType::kQ4_0, 4, 0, 32, 32, false, 8};
inline constexpr Format kQ4_1{DType::kQ4_1, 4, 0, 32, 32, true, 0};
inline constexpr Format kQ5_0{DType::kQ5_0, 4, 1, 32, 32, false, 16};
inline constexpr Format kQ5_1{DType::kQ5_1, 4, 1, 32, 32, true, 0};
inline constexpr Format kQ8_0{DType::kQ8_0, 8, 0, 32, 32, false, 128};
inline constexpr Format kQ2_K{DType::kQ2_K, 2, 0, 16, 256, true, 0};
inline constexpr Format kQ3_K{DType::kQ3_K, 2, 1, 16, 256, false, 4};
inline constexpr Format kQ4_K{DType::kQ4_K, 4, 0, 32, 256, true, 0};
inline constexpr Format kQ5_K{DType::kQ5_K, 4, 1, 32, 256, true, 0};
inline constexpr Format kQ6_K{DType::kQ6_K, 4, 2, 16, 256, false, 32};

inline constexpr std::array<Format, 10> kFormats = {kQ4_0, kQ4_1, kQ5_0, kQ5_1, kQ8_0, kQ2_K, kQ3_K, kQ4_K, kQ5_K, kQ6_K};

// The format of a type, or nullptr where only kRows works.
constexpr const Format* find_format(DType type) noexcept {
  for (const Format& format : kFormats) {
    if (format.type == type) return &format;
  }
  return nullptr;
}

}  // namespace gritstone::panel
