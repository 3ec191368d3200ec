// f32 to K super-blocks. Each group's scale (and min) is found by trying a few code spacings around the obvious one and solving the
// weighted least-squares problem for each; the group scales are then rounded to their own few bits and the codes recomputed with what the
// reader will see. Large weights matter more (weight x^2, or |x| plus the group's rms), as in llama.cpp's reference quantisers.
#include <algorithm>
#include <array>
#include <cmath>

#include "model/dtype.h"
#include "model/dtype_blocks.h"

namespace gritstone::blocks {
namespace {

constexpr std::size_t kMaxGroup = 32;

int round_int(float value) noexcept { return static_cast<int>(std::lrintf(value)); }

// round(value) limited to [low, high]; the clamp comes first, so that huge quotients do not overflow the conversion.
int round_clamped(float value, int low, int high) noexcept {
  return round_int(std::clamp(value, static_cast<float>(low), static_cast<float>(high)));
}

struct Affine {
  float scale = 0.0f;
  float offset = 0.0f;  // >= 0; a value is scale * code - offset
};

// Searches x ~ scale * code - offset, code in [0, top], minimising sum weight * error^2 (or |error| if `absolute`).
//   first, step, count   spacings tried: (top + first + step * i) / range for i = 0 .. count
Affine fit_affine(const float* x, const float* weight, std::size_t n, int top, float first, float step, int count, bool absolute) noexcept {
  const auto [low_at, high_at] = std::minmax_element(x, x + n);
  // An offset below zero cannot be stored, so a group of positive values is coded from 0.
  const float low = std::min(*low_at, 0.0f);
  const float high = *high_at;
  if (high <= low) return {0.0f, -low};

  const auto total_error = [&](float scale, float offset, const std::array<int, kMaxGroup>& codes) {
    float sum = 0.0f;
    for (std::size_t i = 0; i < n; ++i) {
      const float error = scale * static_cast<float>(codes[i]) - offset - x[i];
      sum += weight[i] * (absolute ? std::fabs(error) : error * error);
    }
    return sum;
  };

  float sum_w = 0.0f, sum_x = 0.0f;
  for (std::size_t i = 0; i < n; ++i) {
    sum_w += weight[i];
    sum_x += weight[i] * x[i];
  }

  std::array<int, kMaxGroup> codes{};
  Affine best{(high - low) / static_cast<float>(top), -low};
  for (std::size_t i = 0; i < n; ++i) codes[i] = round_clamped((x[i] - low) / best.scale, 0, top);
  float best_error = total_error(best.scale, best.offset, codes);

  for (int trial = 0; trial <= count; ++trial) {
    const float inverse = (static_cast<float>(top) + first + step * static_cast<float>(trial)) / (high - low);
    float sum_l = 0.0f, sum_l2 = 0.0f, sum_xl = 0.0f;
    for (std::size_t i = 0; i < n; ++i) {
      codes[i] = round_clamped(inverse * (x[i] - low), 0, top);
      const float l = static_cast<float>(codes[i]);
      sum_l += weight[i] * l;
      sum_l2 += weight[i] * l * l;
      sum_xl += weight[i] * l * x[i];
    }
    const float determinant = sum_w * sum_l2 - sum_l * sum_l;
    if (!(determinant > 0.0f)) continue;
    Affine candidate{(sum_w * sum_xl - sum_x * sum_l) / determinant, (sum_l * sum_xl - sum_l2 * sum_x) / determinant};
    if (candidate.offset < 0.0f) candidate = {sum_xl / sum_l2, 0.0f};
    const float error = total_error(candidate.scale, candidate.offset, codes);
    if (error < best_error) {
      best_error = error;
      best = candidate;
    }
  }
  return best;
}

// Searches x ~ scale * code, code in [-limit, limit - 1], minimising sum x^2 * error^2. The sign of the scale is free: it puts the extreme
// value on -limit, the code that has no positive twin.
float fit_symmetric(const float* x, std::size_t n, int limit) noexcept {
  float extreme = 0.0f;
  for (std::size_t i = 0; i < n; ++i) {
    if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
  }
  if (std::fabs(extreme) < 1e-15f) return 0.0f;
  float best_scale = 0.0f;
  float best_gain = -1.0f;
  for (int trial = -9; trial <= 9; ++trial) {
    const float inverse = -(static_cast<float>(limit) + 0.1f * static_cast<float>(trial)) / extreme;
    float sum_xl = 0.0f, sum_l2 = 0.0f;
    for (std::size_t i = 0; i < n; ++i) {
      const float l = static_cast<float>(round_clamped(inverse * x[i], -limit, limit - 1));
      const float w = x[i] * x[i];
      sum_xl += w * x[i] * l;
      sum_l2 += w * l * l;
    }
    // With the optimal scale sum_xl / sum_l2 the squared error falls by sum_xl^2 / sum_l2.
    if (sum_l2 > 0.0f && sum_xl * sum_xl > best_gain * sum_l2) {
      best_gain = sum_xl * sum_xl / sum_l2;
      best_scale = sum_xl / sum_l2;
    }
  }
  return best_scale;
}

// What f16 makes of a scale: codes must be chosen for the value that will be read.
float through_f16(float value, std::uint8_t* stored) noexcept {
  const std::uint16_t bits = scale_to_f16(value);
  store_u16(stored, bits);
  return f16_to_f32(bits);
}

// Codes of one group for the scales as stored.
void code_group(const float* x, std::size_t n, float scale, float offset, int low, int high, int* codes) noexcept {
  for (std::size_t i = 0; i < n; ++i)
    codes[i] = scale != 0.0f ? round_clamped((x[i] + offset) / scale, low, high) : std::clamp(0, low, high);
}

// The eight groups of Q4_K and Q5_K: writes d, dmin and the packed scales to `out`, the codes to `codes`.
void code_eight_groups(const float* x, int top, float first, float step, int count, std::uint8_t* out, int* codes) noexcept {
  std::array<Affine, 8> fits;
  float max_scale = 0.0f, max_offset = 0.0f;
  for (std::size_t g = 0; g < 8; ++g) {
    const float* group = x + 32 * g;
    float square = 0.0f;
    for (std::size_t i = 0; i < 32; ++i) square += group[i] * group[i];
    const float rms = std::sqrt(square / 32.0f);
    std::array<float, 32> weight;
    for (std::size_t i = 0; i < 32; ++i) weight[i] = rms + std::fabs(group[i]);
    fits[g] = fit_affine(group, weight.data(), 32, top, first, step, count, false);
    max_scale = std::max(max_scale, fits[g].scale);
    max_offset = std::max(max_offset, fits[g].offset);
  }
  const float d = through_f16(max_scale / 63.0f, out);
  const float dmin = through_f16(max_offset / 63.0f, out + 2);
  std::array<std::uint8_t, 8> scales, mins;
  for (std::size_t g = 0; g < 8; ++g) {
    scales[g] = static_cast<std::uint8_t>(max_scale > 0.0f ? round_clamped(63.0f * fits[g].scale / max_scale, 0, 63) : 0);
    mins[g] = static_cast<std::uint8_t>(max_offset > 0.0f ? round_clamped(63.0f * fits[g].offset / max_offset, 0, 63) : 0);
    code_group(x + 32 * g, 32, d * scales[g], dmin * mins[g], 0, top, codes + 32 * g);
  }
  std::uint8_t* packed = out + 4;
  for (std::size_t g = 0; g < 4; ++g) {
    packed[g] = static_cast<std::uint8_t>(scales[g] | scales[g + 4] >> 4 << 6);
    packed[g + 4] = static_cast<std::uint8_t>(mins[g] | mins[g + 4] >> 4 << 6);
    packed[g + 8] = static_cast<std::uint8_t>((scales[g + 4] & 15) | (mins[g + 4] & 15) << 4);
  }
}

// Nibbles of 256 codes, two groups of 32 to 32 bytes.
void pack_nibbles(const int* codes, std::uint8_t* out) noexcept {
  for (std::size_t pair = 0; pair < 4; ++pair) {
    for (std::size_t l = 0; l < 32; ++l) {
      out[32 * pair + l] = static_cast<std::uint8_t>((codes[64 * pair + l] & 15) | (codes[64 * pair + 32 + l] & 15) << 4);
    }
  }
}

// The low two bits of 256 codes, four groups of 32 to 32 bytes.
void pack_pairs(const int* codes, std::uint8_t* out) noexcept {
  for (std::size_t half = 0; half < 2; ++half) {
    for (std::size_t l = 0; l < 32; ++l) {
      const int* c = codes + 128 * half + l;
      out[32 * half + l] = static_cast<std::uint8_t>((c[0] & 3) | (c[32] & 3) << 2 | (c[64] & 3) << 4 | (c[96] & 3) << 6);
    }
  }
}

// Sixteen symmetric groups (Q3_K, Q6_K): group scales as integers in [-top, top - 1] times one f16 scale; codes offset to start at 0.
void code_sixteen_groups(const float* x, int limit, int top, std::uint8_t* d_out, int* scales, int* codes) noexcept {
  std::array<float, 16> fits;
  float extreme = 0.0f;
  for (std::size_t g = 0; g < 16; ++g) {
    fits[g] = fit_symmetric(x + 16 * g, 16, limit);
    if (std::fabs(fits[g]) > std::fabs(extreme)) extreme = fits[g];
  }
  const float d = through_f16(extreme / static_cast<float>(-top), d_out);
  for (std::size_t g = 0; g < 16; ++g) {
    scales[g] = extreme != 0.0f ? round_clamped(fits[g] * static_cast<float>(-top) / extreme, -top, top - 1) : 0;
    code_group(x + 16 * g, 16, d * static_cast<float>(scales[g]), 0.0f, -limit, limit - 1, codes + 16 * g);
    for (std::size_t i = 0; i < 16; ++i) codes[16 * g + i] += limit;
  }
}

}  // namespace

void quantize_q2_k(const float* x, std::uint8_t* out) noexcept {
  std::array<Affine, 16> fits;
  float max_scale = 0.0f, max_offset = 0.0f;
  for (std::size_t g = 0; g < 16; ++g) {
    std::array<float, 16> weight;
    for (std::size_t i = 0; i < 16; ++i) weight[i] = std::fabs(x[16 * g + i]);
    fits[g] = fit_affine(x + 16 * g, weight.data(), 16, 3, -0.5f, 0.1f, 15, true);
    max_scale = std::max(max_scale, fits[g].scale);
    max_offset = std::max(max_offset, fits[g].offset);
  }
  const float d = through_f16(max_scale / 15.0f, out + 80);
  const float dmin = through_f16(max_offset / 15.0f, out + 82);
  std::array<int, kSuper> codes;
  for (std::size_t g = 0; g < 16; ++g) {
    const int scale = max_scale > 0.0f ? round_clamped(15.0f * fits[g].scale / max_scale, 0, 15) : 0;
    const int min = max_offset > 0.0f ? round_clamped(15.0f * fits[g].offset / max_offset, 0, 15) : 0;
    out[g] = static_cast<std::uint8_t>(scale | min << 4);
    code_group(x + 16 * g, 16, d * static_cast<float>(scale), dmin * static_cast<float>(min), 0, 3, codes.data() + 16 * g);
  }
  pack_pairs(codes.data(), out + 16);
}

void quantize_q3_k(const float* x, std::uint8_t* out) noexcept {
  std::array<int, 16> scales;
  std::array<int, kSuper> codes;
  code_sixteen_groups(x, 4, 32, out + 108, scales.data(), codes.data());
  std::fill(out, out + 32, std::uint8_t{0});
  for (std::size_t i = 0; i < kSuper; ++i) out[i % 32] |= static_cast<std::uint8_t>((codes[i] >> 2) << (i / 32));
  pack_pairs(codes.data(), out + 32);
  std::uint8_t* packed = out + 96;
  std::fill(packed, packed + 12, std::uint8_t{0});
  for (std::size_t g = 0; g < 16; ++g) {
    const int code = scales[g] + 32;
    packed[g % 8] |= static_cast<std::uint8_t>((code & 15) << (g / 8 * 4));
    packed[8 + g % 4] |= static_cast<std::uint8_t>((code >> 4) << (g / 4 * 2));
  }
}

void quantize_q4_k(const float* x, std::uint8_t* out) noexcept {
  std::array<int, kSuper> codes;
  code_eight_groups(x, 15, -1.0f, 0.1f, 20, out, codes.data());
  pack_nibbles(codes.data(), out + 16);
}

void quantize_q5_k(const float* x, std::uint8_t* out) noexcept {
  std::array<int, kSuper> codes;
  code_eight_groups(x, 31, -0.5f, 0.1f, 15, out, codes.data());
  std::fill(out + 16, out + 48, std::uint8_t{0});
  for (std::size_t i = 0; i < kSuper; ++i) out[16 + i % 32] |= static_cast<std::uint8_t>((codes[i] >> 4) << (i / 32));
  pack_nibbles(codes.data(), out + 48);
}

void quantize_q6_k(const float* x, std::uint8_t* out) noexcept {
  std::array<int, 16> scales;
  std::array<int, kSuper> codes;
  code_sixteen_groups(x, 32, 128, out + 208, scales.data(), codes.data());
  for (std::size_t half = 0; half < 2; ++half) {
    for (std::size_t l = 0; l < 32; ++l) {
      const int* c = codes.data() + 128 * half + l;
      out[64 * half + l] = static_cast<std::uint8_t>((c[0] & 15) | (c[64] & 15) << 4);
      out[64 * half + 32 + l] = static_cast<std::uint8_t>((c[32] & 15) | (c[96] & 15) << 4);
      out[128 + 32 * half + l] = static_cast<std::uint8_t>(c[0] >> 4 | c[32] >> 4 << 2 | c[64] >> 4 << 4 | c[96] >> 4 << 6);
    }
  }
  for (std::size_t g = 0; g < 16; ++g) out[192 + g] = static_cast<std::uint8_t>(static_cast<std::int8_t>(scales[g]));
}

}  // namespace gritstone::blocks
