#include "model/kernels/pack_blocks.h"

#include <cstring>

namespace gritstone::panel {
namespace {

std::uint16_t load_u16(const std::uint8_t* bytes) noexcept {
  std::uint16_t value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

std::uint32_t load_u32(const std::uint8_t* bytes) noexcept {
  std::uint32_t value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

std::uint16_t negate_f16(std::uint16_t bits) noexcept { return static_cast<std::uint16_t>(bits ^ 0x8000u); }

// 16 bytes: column i in the low nibble, column i + 16 in the high one.
void read_nibbles(const std::uint8_t* q, std::uint8_t* codes) noexcept {
  for (int i = 0; i < 16; ++i) {
    codes[i] = q[i] & 15;
    codes[i + 16] = static_cast<std::uint8_t>(q[i] >> 4);
  }
}

void add_fifth_bits(std::uint32_t high, std::uint8_t* codes) noexcept {
  for (int i = 0; i < 32; ++i) codes[i] = static_cast<std::uint8_t>(codes[i] | (((high >> i) & 1u) << 4));
}

void read_q4_0(const std::uint8_t* b, Block& out) noexcept {
  out.d = load_u16(b);
  out.m = 0;
  read_nibbles(b + 2, out.codes);
}

void read_q4_1(const std::uint8_t* b, Block& out) noexcept {
  out.d = load_u16(b);
  out.m = load_u16(b + 2);
  read_nibbles(b + 4, out.codes);
}

void read_q5_0(const std::uint8_t* b, Block& out) noexcept {
  out.d = load_u16(b);
  out.m = 0;
  read_nibbles(b + 6, out.codes);
  add_fifth_bits(load_u32(b + 2), out.codes);
}

void read_q5_1(const std::uint8_t* b, Block& out) noexcept {
  out.d = load_u16(b);
  out.m = load_u16(b + 2);
  read_nibbles(b + 8, out.codes);
  add_fifth_bits(load_u32(b + 4), out.codes);
}

void read_q8_0(const std::uint8_t* b, Block& out) noexcept {
  out.d = load_u16(b);
  out.m = 0;
  for (int i = 0; i < 32; ++i) out.codes[i] = static_cast<std::uint8_t>(b[2 + i] ^ 0x80u);  // i8 + 128
}

// Q2_K: scales[16] (scale | min << 4), q[64], d, dmin. Byte 32 h + l holds columns 128 h + 32 j + l in bits 2j..2j+1; so does Q3_K.
void read_two_bits(const std::uint8_t* q, std::uint8_t* codes) noexcept {
  for (int h = 0; h < 2; ++h) {
    for (int j = 0; j < 4; ++j) {
      for (int l = 0; l < 32; ++l) codes[128 * h + 32 * j + l] = (q[32 * h + l] >> (2 * j)) & 3;
    }
  }
}

void read_q2_k(const std::uint8_t* b, Block& out) noexcept {
  read_two_bits(b + 16, out.codes);
  for (int g = 0; g < 16; ++g) {
    out.scale[g] = static_cast<std::int8_t>(b[g] & 15);
    out.min[g] = static_cast<std::int8_t>(b[g] >> 4);
  }
  out.d = load_u16(b + 80);
  out.m = negate_f16(load_u16(b + 82));
}

// Q3_K: hmask[32], q[64], scales[12], d. Bit c / 32 of hmask[c % 32] is column c's third bit. A scale has its low 4 bits in bytes 0..7
// (first eight: low nibbles) and its high 2 bits in bytes 8..11.
void read_q3_k(const std::uint8_t* b, Block& out) noexcept {
  read_two_bits(b + 32, out.codes);
  for (int c = 0; c < 256; ++c) out.codes[c] = static_cast<std::uint8_t>(out.codes[c] | (((b[c % 32] >> (c / 32)) & 1) << 2));
  const std::uint8_t* s = b + 96;
  for (int g = 0; g < 16; ++g) {
    const int low = g < 8 ? s[g] & 15 : s[g - 8] >> 4;
    const int high = (s[8 + g % 4] >> (2 * (g / 4))) & 3;
    out.scale[g] = static_cast<std::int8_t>((low | (high << 4)) - 32);
  }
  out.d = load_u16(b + 108);
  out.m = 0;
}

// Q4_K and Q5_K: eight 6-bit scales and minima in 12 bytes; the last four have their high 2 bits above the first four's.
void read_six_bit_scales(const std::uint8_t* s, Block& out) noexcept {
  for (int g = 0; g < 4; ++g) {
    out.scale[g] = static_cast<std::int8_t>(s[g] & 63);
    out.min[g] = static_cast<std::int8_t>(s[g + 4] & 63);
    out.scale[g + 4] = static_cast<std::int8_t>((s[g + 8] & 15) | ((s[g] >> 6) << 4));
    out.min[g + 4] = static_cast<std::int8_t>((s[g + 8] >> 4) | ((s[g + 4] >> 6) << 4));
  }
}

// Byte 32 p + l: columns 64 p + l (low nibble) and 64 p + 32 + l.
void read_paired_nibbles(const std::uint8_t* q, std::uint8_t* codes) noexcept {
  for (int p = 0; p < 4; ++p) {
    for (int l = 0; l < 32; ++l) {
      codes[64 * p + l] = q[32 * p + l] & 15;
      codes[64 * p + 32 + l] = static_cast<std::uint8_t>(q[32 * p + l] >> 4);
    }
  }
}

void read_q4_k(const std::uint8_t* b, Block& out) noexcept {
  out.d = load_u16(b);
  out.m = negate_f16(load_u16(b + 2));
  read_six_bit_scales(b + 4, out);
  read_paired_nibbles(b + 16, out.codes);
}

void read_q5_k(const std::uint8_t* b, Block& out) noexcept {
  out.d = load_u16(b);
  out.m = negate_f16(load_u16(b + 2));
  read_six_bit_scales(b + 4, out);
  read_paired_nibbles(b + 48, out.codes);
  for (int g = 0; g < 8; ++g) {
    for (int l = 0; l < 32; ++l) {
      out.codes[32 * g + l] = static_cast<std::uint8_t>(out.codes[32 * g + l] | (((b[16 + l] >> g) & 1) << 4));
    }
  }
}

// Q6_K: low[128], high[64], scales[16], d. Half h: columns 32 j + l take nibble j / 2 of low[64 h + 32 (j % 2) + l], bits 2j of high[32 h +
// l].
void read_q6_k(const std::uint8_t* b, Block& out) noexcept {
  for (int h = 0; h < 2; ++h) {
    for (int j = 0; j < 4; ++j) {
      const std::uint8_t* low = b + 64 * h + 32 * (j % 2);
      const std::uint8_t* high = b + 128 + 32 * h;
      for (int l = 0; l < 32; ++l) {
        out.codes[128 * h + 32 * j + l] = static_cast<std::uint8_t>(((low[l] >> (4 * (j / 2))) & 15) | (((high[l] >> (2 * j)) & 3) << 4));
      }
    }
  }
  std::memcpy(out.scale, b + 192, 16);
  out.d = load_u16(b + 208);
  out.m = 0;
}

}  // namespace

void read_block(DType type, const std::uint8_t* bytes, Block& out) noexcept {
  switch (type) {
    case DType::kQ4_0:
      return read_q4_0(bytes, out);
    case DType::kQ4_1:
      return read_q4_1(bytes, out);
    case DType::kQ5_0:
      return read_q5_0(bytes, out);
    case DType::kQ5_1:
      return read_q5_1(bytes, out);
    case DType::kQ8_0:
      return read_q8_0(bytes, out);
    case DType::kQ2_K:
      return read_q2_k(bytes, out);
    case DType::kQ3_K:
      return read_q3_k(bytes, out);
    case DType::kQ4_K:
      return read_q4_k(bytes, out);
    case DType::kQ5_K:
      return read_q5_k(bytes, out);
    case DType::kQ6_K:
      return read_q6_k(bytes, out);
    case DType::kF32:
    case DType::kF16:
    case DType::kBF16:
      return;  // no panel format
  }
}

}  // namespace gritstone::panel
