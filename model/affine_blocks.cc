#include "model/affine_blocks.h"

#include <algorithm>
#include <cmath>

#include "model/dtype_blocks.h"

namespace gritstone {
namespace {

using blocks::load_u16;

// Of 16 elements of a block: value = min + scale * code, code from `low` on.
struct Pair {
  float scale = 0, min = 0;
};

// The pair of group `g` (16 elements each) of a block, as the decoders in dtype_legacy.cc and dtype_k.cc apply it.
Pair pair_of(DType type, const std::uint8_t* block, std::size_t g) noexcept {
  switch (type) {
    case DType::kQ4_0: {
      const float d = f16_to_f32(load_u16(block));
      return {d, -8.0f * d};
    }
    case DType::kQ4_1:
    case DType::kQ5_1:
      return {f16_to_f32(load_u16(block)), f16_to_f32(load_u16(block + 2))};
    case DType::kQ5_0:
    case DType::kQ8_0:
      return {f16_to_f32(load_u16(block)), 0.0f};
    case DType::kQ2_K:
      return {f16_to_f32(load_u16(block + 80)) * static_cast<float>(block[g] & 15),
              -f16_to_f32(load_u16(block + 82)) * static_cast<float>(block[g] >> 4)};
    case DType::kQ3_K: {
      const std::uint8_t* packed = block + 96;
      const int low = g < 8 ? packed[g] & 15 : packed[g - 8] >> 4;
      const int high = packed[8 + g % 4] >> (2 * (g / 4)) & 3;
      const float scale = f16_to_f32(load_u16(block + 108)) * static_cast<float>((low | high << 4) - 32);
      return {scale, -4.0f * scale};
    }
    case DType::kQ4_K:
    case DType::kQ5_K: {
      const blocks::ScaleMin sm = blocks::load_scale_min(block + 4, g / 2);
      return {f16_to_f32(load_u16(block)) * static_cast<float>(sm.scale), -f16_to_f32(load_u16(block + 2)) * static_cast<float>(sm.min)};
    }
    case DType::kQ6_K:
      return {f16_to_f32(load_u16(block + 208)) * static_cast<float>(static_cast<std::int8_t>(block[192 + g])), 0.0f};
    default:
      return {};
  }
}

void put_code(std::uint8_t* codes, std::size_t i, int code, unsigned bits) noexcept {
  if (bits == 8) {
    codes[i] = static_cast<std::uint8_t>(code);
    return;
  }
  std::uint8_t& byte = codes[i / 32 * 16 + i % 16];
  byte = static_cast<std::uint8_t>(i % 32 < 16 ? code : byte | code << 4);
}

constexpr std::size_t kFine = 16;  // elements of the finest group

}  // namespace

std::optional<AffineFormat> affine_format(DType type) noexcept {
  switch (type) {
    case DType::kQ4_0:
    case DType::kQ4_1:
    case DType::kQ4_K:
      return AffineFormat{4, 32};
    case DType::kQ2_K:
    case DType::kQ3_K:
      return AffineFormat{4, 16};
    case DType::kQ5_0:
    case DType::kQ5_1:
    case DType::kQ5_K:
    case DType::kQ8_0:
      return AffineFormat{8, 32};
    case DType::kQ6_K:
      return AffineFormat{8, 16};
    default:
      return std::nullopt;
  }
}

AffineFormat common_format(const AffineFormat& a, const AffineFormat& b) noexcept {
  return {std::max(a.bits, b.bits), std::min(a.group, b.group)};
}

void affine_row(DType type, const std::uint8_t* row, std::size_t n, const AffineFormat& format, std::uint8_t* codes,
                std::uint16_t* pairs) noexcept {
  const DTypeTraits& t = traits(type);
  float values[blocks::kSuper];
  for (std::size_t begin = 0; begin < n; begin += t.block, row += t.bytes) {
    dequantize_row(type, row, values, t.block);
    for (std::size_t i = 0; i < t.block; i += kFine) {
      const Pair pair = pair_of(type, row, i / kFine);
      // The decoders' results lie on the grid up to f32 rounding, so the nearest code is the stored one.
      const float inverse = pair.scale != 0.0f ? 1.0f / pair.scale : 0.0f;
      for (std::size_t j = 0; j < kFine; ++j) {
        put_code(codes, begin + i + j, static_cast<int>(std::lround((values[i + j] - pair.min) * inverse)), format.bits);
      }
      if ((begin + i) % format.group != 0) continue;
      std::uint16_t* const out = pairs + (begin + i) / format.group * 2;
      out[0] = f32_to_f16(pair.scale);
      out[1] = f32_to_f16(pair.min);
    }
  }
}

}  // namespace gritstone
