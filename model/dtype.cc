#include "model/dtype.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "model/dtype_blocks.h"

namespace gritstone {
namespace {

using Dequantize = void (*)(const std::uint8_t*, float*, std::size_t) noexcept;
using QuantizeBlock = void (*)(const float*, std::uint8_t*) noexcept;

struct Codec {
  DType type;
  DTypeTraits traits;
  Dequantize dequantize;  // null: one element at a time, below
  QuantizeBlock quantize;
};

constexpr std::array<Codec, 13> kCodecs = {{
    {DType::kF32, {"f32", 1, 4}, nullptr, nullptr},
    {DType::kF16, {"f16", 1, 2}, nullptr, nullptr},
    {DType::kBF16, {"bf16", 1, 2}, nullptr, nullptr},
    {DType::kQ4_0, {"q4_0", 32, 18}, blocks::dequantize_q4_0, blocks::quantize_q4_0},
    {DType::kQ4_1, {"q4_1", 32, 20}, blocks::dequantize_q4_1, blocks::quantize_q4_1},
    {DType::kQ5_0, {"q5_0", 32, 22}, blocks::dequantize_q5_0, blocks::quantize_q5_0},
    {DType::kQ5_1, {"q5_1", 32, 24}, blocks::dequantize_q5_1, blocks::quantize_q5_1},
    {DType::kQ8_0, {"q8_0", 32, 34}, blocks::dequantize_q8_0, blocks::quantize_q8_0},
    {DType::kQ2_K, {"q2_k", 256, 84}, blocks::dequantize_q2_k, blocks::quantize_q2_k},
    {DType::kQ3_K, {"q3_k", 256, 110}, blocks::dequantize_q3_k, blocks::quantize_q3_k},
    {DType::kQ4_K, {"q4_k", 256, 144}, blocks::dequantize_q4_k, blocks::quantize_q4_k},
    {DType::kQ5_K, {"q5_k", 256, 176}, blocks::dequantize_q5_k, blocks::quantize_q5_k},
    {DType::kQ6_K, {"q6_k", 256, 210}, blocks::dequantize_q6_k, blocks::quantize_q6_k},
}};

const Codec* find_codec(std::uint32_t ggml_type) noexcept {
  for (const Codec& codec : kCodecs) {
    if (static_cast<std::uint32_t>(codec.type) == ggml_type) return &codec;
  }
  return nullptr;
}

const Codec& codec_of(DType type) noexcept {
  const Codec* codec = find_codec(static_cast<std::uint32_t>(type));
  GS_CHECK(codec != nullptr);
  return *codec;
}

float finite_or_zero(float value) noexcept { return std::isfinite(value) ? value : 0.0f; }

}  // namespace

const DTypeTraits& traits(DType type) noexcept { return codec_of(type).traits; }

std::optional<DType> dtype_from_ggml(std::uint32_t ggml_type) noexcept {
  const Codec* codec = find_codec(ggml_type);
  if (codec == nullptr) return std::nullopt;
  return codec->type;
}

std::optional<DType> dtype_from_name(std::string_view name) noexcept {
  for (const Codec& codec : kCodecs) {
    const std::string_view known = codec.traits.name;
    const auto same = [](char a, char b) { return a == (b >= 'A' && b <= 'Z' ? static_cast<char>(b - 'A' + 'a') : b); };
    if (known.size() == name.size() && std::equal(known.begin(), known.end(), name.begin(), same)) return codec.type;
  }
  return std::nullopt;
}

std::size_t row_bytes(DType type, std::size_t n) noexcept {
  const DTypeTraits& t = traits(type);
  return n / t.block * t.bytes;
}

void dequantize_row(DType type, const std::uint8_t* row, float* out, std::size_t n) noexcept {
  switch (type) {
    case DType::kF32:
      if (n > 0) std::memcpy(out, row, n * sizeof(float));
      return;
    case DType::kF16:
      for (std::size_t i = 0; i < n; ++i) out[i] = f16_to_f32(blocks::load_u16(row + 2 * i));
      return;
    case DType::kBF16:
      for (std::size_t i = 0; i < n; ++i) out[i] = bf16_to_f32(blocks::load_u16(row + 2 * i));
      return;
    default: {
      const Codec& codec = codec_of(type);
      codec.dequantize(row, out, n / codec.traits.block);
    }
  }
}

void quantize_row(DType type, const float* values, std::uint8_t* out, std::size_t n) noexcept {
  switch (type) {
    case DType::kF32:
      for (std::size_t i = 0; i < n; ++i) {
        const float value = finite_or_zero(values[i]);
        std::memcpy(out + 4 * i, &value, sizeof(value));
      }
      return;
    case DType::kF16:
      for (std::size_t i = 0; i < n; ++i) blocks::store_u16(out + 2 * i, blocks::scale_to_f16(finite_or_zero(values[i])));
      return;
    case DType::kBF16:
      for (std::size_t i = 0; i < n; ++i) blocks::store_u16(out + 2 * i, f32_to_bf16(finite_or_zero(values[i])));
      return;
    default: {
      const Codec& codec = codec_of(type);
      std::array<float, blocks::kSuper> block;
      for (std::size_t done = 0; done < n; done += codec.traits.block) {
        std::transform(values + done, values + done + codec.traits.block, block.begin(), finite_or_zero);
        codec.quantize(block.data(), out);
        out += codec.traits.bytes;
      }
    }
  }
}

float f16_to_f32(std::uint16_t bits) noexcept {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000) << 16;
  const std::uint32_t magnitude = bits & 0x7FFF;
  // Normal numbers: move the fields and rebias the exponent by 127 - 15; infinities and NaN need the bias added twice.
  std::uint32_t normal = (magnitude << 13) + (112u << 23);
  normal += magnitude >= 0x7C00 ? 112u << 23 : 0u;
  // Subnormals: place the mantissa at the bottom of 0.5's (one ulp of 0.5 is 2^-24, the f16 quantum) and take 0.5 off again. Unlike a
  // multiplication this is exact also where the CPU flushes f32 subnormals.
  const float subnormal = std::bit_cast<float>((126u << 23) + magnitude) - 0.5f;
  const std::uint32_t value = magnitude < 0x0400 ? std::bit_cast<std::uint32_t>(subnormal) : normal;
  return std::bit_cast<float>(sign | value);
}

std::uint16_t f32_to_f16(float value) noexcept {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = bits >> 16 & 0x8000;
  const std::uint32_t magnitude = bits & 0x7FFFFFFF;
  std::uint32_t half;
  if (magnitude >= 0x47800000) {  // 65536 and above, infinity, NaN
    half = magnitude > 0x7F800000 ? 0x7E00 : 0x7C00;
  } else if (magnitude < 0x38800000) {  // below 2^-14: subnormal; adding 0.5 makes the FPU round to a multiple of 2^-24, ties to even
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    half = std::bit_cast<std::uint32_t>(shifted) - (126u << 23);
  } else {
    const std::uint32_t odd = magnitude >> 13 & 1;  // ties to even: add just under half a quantum, plus one where the result would be odd
    half = (magnitude - (112u << 23) + 0xFFF + odd) >> 13;
  }
  return static_cast<std::uint16_t>(sign | half);
}

std::uint16_t f32_to_bf16(float value) noexcept {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7FFFFFFF) > 0x7F800000) return static_cast<std::uint16_t>(bits >> 16 | 0x40);  // keep NaN a (quiet) NaN
  return static_cast<std::uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

std::uint16_t blocks::scale_to_f16(float value) noexcept {
  constexpr float kLargest = 65504.0f;
  return f32_to_f16(std::clamp(value, -kLargest, kLargest));
}

}  // namespace gritstone
