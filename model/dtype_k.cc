// Super-blocks of 256 with quantised scales per 16 or 32 elements: Q2_K .. Q6_K, to f32. The other direction is in dtype_quantize_k.cc.
#include "model/dtype.h"
#include "model/dtype_blocks.h"

namespace gritstone::blocks {

// 84 bytes: 16 x (scale | min << 4), 64 bytes of 2-bit codes, f16 scale of scales, f16 scale of mins.
// Each half of 128 elements uses 32 code bytes: byte l holds elements l, l + 32, l + 64, l + 96 in its four pairs of bits.
void dequantize_q2_k(const std::uint8_t* in, float* out, std::size_t blocks) noexcept {
  for (std::size_t b = 0; b < blocks; ++b, in += 84, out += kSuper) {
    const float d = f16_to_f32(load_u16(in + 80));
    const float dmin = f16_to_f32(load_u16(in + 82));
    for (std::size_t group = 0; group < 16; ++group) {
      const float scale = d * static_cast<float>(in[group] & 15);
      const float min = dmin * static_cast<float>(in[group] >> 4);
      const std::uint8_t* codes = in + 16 + group / 8 * 32 + group % 2 * 16;
      const unsigned shift = static_cast<unsigned>(group % 8 / 2 * 2);
      for (std::size_t l = 0; l < 16; ++l) out[group * 16 + l] = scale * static_cast<float>(codes[l] >> shift & 3) - min;
    }
  }
}

// 110 bytes: 32 bytes of third bits, 64 of 2-bit codes (as in Q2_K), 16 signed 6-bit scales in 12 bytes, f16 scale.
// Third bit clear means 4 is taken off, so codes are -4 .. 3. Bit k of mask byte l belongs to element 32 k + l.
void dequantize_q3_k(const std::uint8_t* in, float* out, std::size_t blocks) noexcept {
  for (std::size_t b = 0; b < blocks; ++b, in += 110, out += kSuper) {
    const std::uint8_t* packed = in + 96;
    const float d = f16_to_f32(load_u16(in + 108));
    for (std::size_t group = 0; group < 16; ++group) {
      const int low = group < 8 ? packed[group] & 15 : packed[group - 8] >> 4;
      const int high = packed[8 + group % 4] >> (2 * (group / 4)) & 3;
      const float scale = d * static_cast<float>((low | high << 4) - 32);
      const std::size_t column = group % 2 * 16;
      const std::uint8_t* mask = in + column;
      const std::uint8_t* codes = in + 32 + group / 8 * 32 + column;
      const unsigned shift = static_cast<unsigned>(group % 8 / 2 * 2);
      const unsigned bit = static_cast<unsigned>(group / 2);
      for (std::size_t l = 0; l < 16; ++l) {
        const int code = (codes[l] >> shift & 3) - ((mask[l] >> bit & 1) != 0 ? 0 : 4);
        out[group * 16 + l] = scale * static_cast<float>(code);
      }
    }
  }
}

// 144 bytes: f16 scale, f16 min, 8 x (scale, min) of 6 bits in 12 bytes, 128 bytes of nibbles: 32 bytes hold elements 64 k .. 64 k + 31 low
// and the next 32 high.
void dequantize_q4_k(const std::uint8_t* in, float* out, std::size_t blocks) noexcept {
  for (std::size_t b = 0; b < blocks; ++b, in += 144, out += kSuper) {
    const float d = f16_to_f32(load_u16(in));
    const float dmin = f16_to_f32(load_u16(in + 2));
    for (std::size_t group = 0; group < 8; ++group) {
      const ScaleMin sm = load_scale_min(in + 4, group);
      const float scale = d * static_cast<float>(sm.scale);
      const float min = dmin * static_cast<float>(sm.min);
      const std::uint8_t* codes = in + 16 + group / 2 * 32;
      const unsigned shift = static_cast<unsigned>(group % 2 * 4);
      for (std::size_t l = 0; l < 32; ++l) out[group * 32 + l] = scale * static_cast<float>(codes[l] >> shift & 15) - min;
    }
  }
}

// 176 bytes: as Q4_K with 32 bytes of fifth bits before the nibbles; bit k of byte l belongs to element 32 k + l.
void dequantize_q5_k(const std::uint8_t* in, float* out, std::size_t blocks) noexcept {
  for (std::size_t b = 0; b < blocks; ++b, in += 176, out += kSuper) {
    const float d = f16_to_f32(load_u16(in));
    const float dmin = f16_to_f32(load_u16(in + 2));
    for (std::size_t group = 0; group < 8; ++group) {
      const ScaleMin sm = load_scale_min(in + 4, group);
      const float scale = d * static_cast<float>(sm.scale);
      const float min = dmin * static_cast<float>(sm.min);
      const std::uint8_t* fifth = in + 16;
      const std::uint8_t* codes = in + 48 + group / 2 * 32;
      const unsigned shift = static_cast<unsigned>(group % 2 * 4);
      for (std::size_t l = 0; l < 32; ++l) {
        const int code = (codes[l] >> shift & 15) | (fifth[l] >> group & 1) << 4;
        out[group * 32 + l] = scale * static_cast<float>(code) - min;
      }
    }
  }
}

// 210 bytes: 128 bytes of low nibbles, 64 of high bit pairs, 16 int8 scales, f16 scale; codes are offset by 32.
// A half of 128 elements uses 64 low bytes (elements l and l + 64 share byte l) and 32 high bytes (elements l, +32, +64, +96).
void dequantize_q6_k(const std::uint8_t* in, float* out, std::size_t blocks) noexcept {
  for (std::size_t b = 0; b < blocks; ++b, in += 210, out += kSuper) {
    const float d = f16_to_f32(load_u16(in + 208));
    for (std::size_t group = 0; group < 16; ++group) {
      const std::size_t half = group / 8;
      const std::size_t quarter = group % 8 / 2;  // which 32 of the half's 128 elements
      const std::size_t column = group % 2 * 16;
      const float scale = d * static_cast<float>(static_cast<std::int8_t>(in[192 + group]));
      const std::uint8_t* low = in + half * 64 + quarter % 2 * 32 + column;
      const std::uint8_t* high = in + 128 + half * 32 + column;
      const unsigned low_shift = static_cast<unsigned>(quarter / 2 * 4);
      const unsigned high_shift = static_cast<unsigned>(quarter * 2);
      for (std::size_t l = 0; l < 16; ++l) {
        const int code = ((low[l] >> low_shift & 15) | (high[l] >> high_shift & 3) << 4) - 32;
        out[group * 16 + l] = scale * static_cast<float>(code);
      }
    }
  }
}

}  // namespace gritstone::blocks
