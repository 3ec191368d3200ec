#include "model/synth_blocks.h"

#include <cmath>
#include <cstring>

#include "model/dtype_blocks.h"

namespace gritstone {
namespace {

using blocks::store_u16;

// Root mean square of the integers low .. high.
float rms_of_range(int low, int high) noexcept {
  double sum = 0;
  for (int k = low; k <= high; ++k) sum += static_cast<double>(k) * k;
  return static_cast<float>(std::sqrt(sum / (high - low + 1)));
}

// Standard deviation of a uniform code with `levels` values.
float code_deviation(int levels) noexcept { return std::sqrt((static_cast<float>(levels) * static_cast<float>(levels) - 1.0f) / 12.0f); }

constexpr std::uint16_t kSign = 0x8000;  // of an f16

}  // namespace

std::uint64_t next_random(std::uint64_t& state) noexcept {
  state += 0x9E3779B97F4A7C15u;
  std::uint64_t z = state;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

float next_uniform(std::uint64_t& state) noexcept { return static_cast<float>(next_random(state) >> 40) * 0x1p-24f; }

std::uint64_t random_key(std::uint64_t seed, std::string_view name, std::uint64_t index) noexcept {
  std::uint64_t state = seed;
  for (const char c : name) state = next_random(state) ^ static_cast<unsigned char>(c);
  state = next_random(state) ^ index;
  return next_random(state);
}

RandomRows::RandomRows(DType type, std::size_t columns, float sigma)
    : type_(type), columns_(columns), bytes_(gritstone::row_bytes(type, columns)) {
  amplitude_ = sigma * std::sqrt(3.0f);
  // Signed codes are off centre by half a step (-8 .. 7), so their scale gets a random sign; codes from 0 get the offset that centres them.
  // A common direction in all rows would otherwise show up in every product.
  float scale = 0.0f, offset = 0.0f;
  switch (type) {
    case DType::kQ4_0:
      scale = sigma / rms_of_range(-8, 7);
      break;
    case DType::kQ5_0:
      scale = sigma / rms_of_range(-16, 15);
      break;
    case DType::kQ8_0:
      scale = sigma / rms_of_range(-127, 127);
      break;
    case DType::kQ4_1:
      scale = sigma / code_deviation(16);
      offset = -7.5f * scale;
      break;
    case DType::kQ5_1:
      scale = sigma / code_deviation(32);
      offset = -15.5f * scale;
      break;
    case DType::kQ2_K:
      scale = sigma / (code_deviation(4) * rms_of_range(8, 15));
      offset = 1.5f * scale;
      break;
    case DType::kQ3_K:
      scale = sigma / (rms_of_range(-4, 3) * rms_of_range(16, 31));
      break;
    case DType::kQ4_K:
      scale = sigma / (code_deviation(16) * rms_of_range(32, 63));
      offset = 7.5f * scale;
      break;
    case DType::kQ5_K:
      scale = sigma / (code_deviation(32) * rms_of_range(32, 63));
      offset = 15.5f * scale;
      break;
    case DType::kQ6_K:
      scale = sigma / (rms_of_range(-32, 31) * rms_of_range(64, 127));
      break;
    default:
      break;
  }
  scale_ = f32_to_f16(scale);
  offset_ = f32_to_f16(offset);
}

void RandomRows::set_scales(std::uint64_t& state, std::uint8_t* block) const noexcept {
  std::uint64_t bits = next_random(state);
  const auto take = [&bits](unsigned count) {
    const auto value = static_cast<std::uint8_t>(bits & ((1u << count) - 1));
    bits >>= count;
    return value;
  };
  switch (type_) {
    case DType::kQ4_0:
    case DType::kQ5_0:
      store_u16(block, static_cast<std::uint16_t>(scale_ | (take(1) != 0 ? kSign : 0)));
      break;
    case DType::kQ8_0:
      store_u16(block, static_cast<std::uint16_t>(scale_ | (take(1) != 0 ? kSign : 0)));
      // Real files never hold -128: their scale is max / 127.
      for (std::size_t i = 2; i < 34; ++i) block[i] = block[i] == 0x80 ? 0x7F : block[i];
      break;
    case DType::kQ4_1:
    case DType::kQ5_1:
      store_u16(block, scale_);
      store_u16(block + 2, offset_);
      break;
    case DType::kQ2_K:
      for (std::size_t g = 0; g < 16; ++g) {
        const auto scale = static_cast<std::uint8_t>(8 + take(3));
        block[g] = static_cast<std::uint8_t>(scale | scale << 4);
      }
      store_u16(block + 80, scale_);
      store_u16(block + 82, offset_);
      break;
    case DType::kQ3_K: {
      // The 6-bit scale minus 32 is +-(16 .. 31): its top two bits decide the sign, so they are 00 or 11 with the magnitude's fifth bit.
      std::uint8_t* packed = block + 96;
      std::memset(packed, 0, 12);
      for (std::size_t g = 0; g < 16; ++g) {
        if (g == 8) bits = next_random(state);
        const int magnitude = 16 + take(4);
        const int code = 32 + (take(1) != 0 ? -magnitude : magnitude);
        packed[g % 8] |= static_cast<std::uint8_t>((code & 15) << (g / 8 * 4));
        packed[8 + g % 4] |= static_cast<std::uint8_t>((code >> 4) << (g / 4 * 2));
      }
      store_u16(block + 108, scale_);
      break;
    }
    case DType::kQ4_K:
    case DType::kQ5_K: {
      // Scale and min codes alike, 32 .. 63.
      std::uint8_t* packed = block + 4;
      for (std::size_t g = 0; g < 4; ++g) {
        const std::uint8_t first = 32 + take(5);
        const std::uint8_t second = 32 + take(5);
        packed[g] = packed[g + 4] = static_cast<std::uint8_t>(first | second >> 4 << 6);
        packed[g + 8] = static_cast<std::uint8_t>((second & 15) | (second & 15) << 4);
      }
      store_u16(block, scale_);
      store_u16(block + 2, offset_);
      break;
    }
    case DType::kQ6_K:
      for (std::size_t g = 0; g < 16; ++g) {
        if (g == 8) bits = next_random(state);
        const int magnitude = 64 + take(6);
        block[192 + g] = static_cast<std::uint8_t>(static_cast<std::int8_t>(take(1) != 0 ? -magnitude : magnitude));
      }
      store_u16(block + 208, scale_);
      break;
    default:
      break;
  }
}

void RandomRows::fill(std::uint64_t key, std::uint8_t* row) const noexcept {
  std::uint64_t state = key;
  const DTypeTraits& layout = traits(type_);
  if (layout.block == 1) {
    // 16 random bits a value.
    for (std::size_t i = 0; i < columns_; i += 4) {
      std::uint64_t bits = next_random(state);
      for (std::size_t j = i; j < i + 4 && j < columns_; ++j, bits >>= 16) {
        const float value = (static_cast<float>(bits & 0xFFFF) - 32767.5f) / 32767.5f * amplitude_;
        if (type_ == DType::kF32) std::memcpy(row + 4 * j, &value, 4);
        if (type_ == DType::kF16) store_u16(row + 2 * j, f32_to_f16(value));
        if (type_ == DType::kBF16) store_u16(row + 2 * j, f32_to_bf16(value));
      }
    }
    return;
  }
  std::size_t i = 0;
  for (; i + 8 <= bytes_; i += 8) {
    const std::uint64_t bits = next_random(state);
    std::memcpy(row + i, &bits, 8);
  }
  const std::uint64_t rest = next_random(state);
  std::memcpy(row + i, &rest, bytes_ - i);
  for (std::size_t offset = 0; offset < bytes_; offset += layout.bytes) set_scales(state, row + offset);
}

}  // namespace gritstone
