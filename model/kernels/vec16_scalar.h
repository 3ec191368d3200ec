// Sixteen f32 lanes in plain C++: the reference for the SIMD versions, which have the same lanes, the same order of operations and so the
// same bits. Included by exactly one .cc file per ISA; defines Vec16.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "model/dtype.h"

namespace gritstone {
namespace {

struct Vec16 {
  float lane[16];

  static Vec16 load(const float* p) noexcept {
    Vec16 r;
    std::memcpy(r.lane, p, sizeof(r.lane));
    return r;
  }
  static Vec16 set1(float x) noexcept {
    return map([&](int) { return x; });
  }
  void store(float* p) const noexcept { std::memcpy(p, lane, sizeof(lane)); }

  static Vec16 load_bf16(const std::uint16_t* p) noexcept {
    return map([&](int i) { return bf16_to_f32(p[i]); });
  }
  // REQUIRES: no NaN (KV states are finite or infinite).
  void store_bf16(std::uint16_t* p) const noexcept {
    for (int i = 0; i < 16; ++i) {
      std::uint32_t bits;
      std::memcpy(&bits, &lane[i], 4);
      p[i] = static_cast<std::uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
    }
  }
  static Vec16 load_f16(const std::uint16_t* p) noexcept {
    return map([&](int i) { return f16_to_f32(p[i]); });
  }
  // The low or the high nibbles of sixteen bytes.
  static Vec16 load_u4(const std::uint8_t* p, bool high) noexcept {
    return map([&](int i) { return static_cast<float>(high ? p[i] >> 4 : p[i] & 15); });
  }
  static Vec16 load_i8(const std::int8_t* p) noexcept {
    return map([&](int i) { return static_cast<float>(p[i]); });
  }
  // Rounds to nearest even. REQUIRES: lanes in [-128, 127].
  void store_i8(std::int8_t* p) const noexcept {
    for (int i = 0; i < 16; ++i) p[i] = static_cast<std::int8_t>(std::nearbyintf(lane[i]));
  }

  friend Vec16 operator+(const Vec16& a, const Vec16& b) noexcept {
    return map([&](int i) { return a.lane[i] + b.lane[i]; });
  }
  friend Vec16 operator-(const Vec16& a, const Vec16& b) noexcept {
    return map([&](int i) { return a.lane[i] - b.lane[i]; });
  }
  friend Vec16 operator*(const Vec16& a, const Vec16& b) noexcept {
    return map([&](int i) { return a.lane[i] * b.lane[i]; });
  }
  friend Vec16 operator/(const Vec16& a, const Vec16& b) noexcept {
    return map([&](int i) { return a.lane[i] / b.lane[i]; });
  }
  // a * b + c with one rounding.
  static Vec16 fma(const Vec16& a, const Vec16& b, const Vec16& c) noexcept {
    return map([&](int i) { return std::fma(a.lane[i], b.lane[i], c.lane[i]); });
  }
  static Vec16 max(const Vec16& a, const Vec16& b) noexcept {
    return map([&](int i) { return a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]; });
  }
  static Vec16 min(const Vec16& a, const Vec16& b) noexcept {
    return map([&](int i) { return a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]; });
  }
  static Vec16 abs(const Vec16& a) noexcept {
    return map([&](int i) { return std::fabs(a.lane[i]); });
  }
  static Vec16 round(const Vec16& a) noexcept {
    return map([&](int i) { return std::nearbyintf(a.lane[i]); });
  }
  // a * 2^n for integral n in [-126, 127].
  static Vec16 scale_pow2(const Vec16& a, const Vec16& n) noexcept {
    return map([&](int i) {
      const std::uint32_t bits = static_cast<std::uint32_t>(static_cast<std::int32_t>(n.lane[i]) + 127) << 23;
      float factor;
      std::memcpy(&factor, &bits, 4);
      return a.lane[i] * factor;
    });
  }

  // Sum over lanes as a tree: distances 8, 4, 2, 1.
  float sum() const noexcept {
    float t[16];
    std::memcpy(t, lane, sizeof(t));
    for (int half = 8; half >= 1; half /= 2) {
      for (int i = 0; i < half; ++i) t[i] = t[i] + t[i + half];
    }
    return t[0];
  }
  float max_lane() const noexcept {
    float m = lane[0];
    for (int i = 1; i < 16; ++i) m = m > lane[i] ? m : lane[i];
    return m;
  }
  // Lane i of the result is the sum over the lanes of rows[i], as a tree whose order transposing 16 registers gives: first lanes two apart
  // in each quarter, then neighbours, then neighbouring quarters, then halves.
  static Vec16 sum_rows(const Vec16* rows) noexcept {
    return map([&](int r) {
      const float* a = rows[r].lane;
      float quarter[4];
      for (int q = 0; q < 4; ++q) quarter[q] = (a[4 * q] + a[4 * q + 2]) + (a[4 * q + 1] + a[4 * q + 3]);
      return (quarter[0] + quarter[1]) + (quarter[2] + quarter[3]);
    });
  }

 private:
  template <typename F>
  static Vec16 map(F&& f) noexcept {
    Vec16 r;
    for (int i = 0; i < 16; ++i) r.lane[i] = f(i);
    return r;
  }
};

}  // namespace
}  // namespace gritstone
