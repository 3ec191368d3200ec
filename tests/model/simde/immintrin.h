// Stands in for <immintrin.h> where the AVX-512 kernels are compiled for machines without AVX-512: SIMDe's portable versions under Intel's
// names, and what SIMDe 0.7.4 lacks or does differently, lane by lane.
#pragma once

#define SIMDE_ENABLE_NATIVE_ALIASES
#define SIMDE_NO_INLINE  // inlined, the eighty unrolled tiles take GCC more than ten minutes
#include <simde/x86/avx2.h>
#include <simde/x86/avx512.h>
#include <simde/x86/f16c.h>
#include <simde/x86/fma.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace gritstone_emulated {

// The lanes of a vector as an array, and back.
template <class T, std::size_t N>
struct Lanes {
  T at[N];
};
template <class T, class Vector>
Lanes<T, sizeof(Vector) / sizeof(T)> lanes(const Vector& v) {
  Lanes<T, sizeof(Vector) / sizeof(T)> out;
  std::memcpy(out.at, &v, sizeof v);
  return out;
}
template <class Vector, class T, std::size_t N>
Vector vector(const Lanes<T, N>& in) {
  static_assert(sizeof(Vector) == sizeof(in.at));
  Vector out;
  std::memcpy(&out, in.at, sizeof out);
  return out;
}
template <class To, class T, std::size_t N, class Function>
Lanes<To, N> each(const Lanes<T, N>& in, Function&& function) {
  Lanes<To, N> out;
  for (std::size_t i = 0; i < N; ++i) out.at[i] = function(in.at[i]);
  return out;
}

// To nearest even, as the processor's default rounding; what does not fit becomes INT_MIN.
inline std::int32_t to_int(float x) {
  return x >= -2147483648.0f && x < 2147483648.0f ? static_cast<std::int32_t>(std::nearbyint(x)) : INT32_MIN;
}

inline simde__m512 cvtepi32_ps(simde__m512i v) {
  return vector<simde__m512>(each<float>(lanes<std::int32_t>(v), [](std::int32_t x) { return static_cast<float>(x); }));
}
inline simde__m512i cvtepi8_epi32(simde__m128i v) {
  return vector<simde__m512i>(each<std::int32_t>(lanes<std::int8_t>(v), [](std::int8_t x) { return std::int32_t{x}; }));
}
inline simde__m512i cvtepu16_epi32(simde__m256i v) {
  return vector<simde__m512i>(each<std::uint32_t>(lanes<std::uint16_t>(v), [](std::uint16_t x) { return std::uint32_t{x}; }));
}
inline simde__m256i cvtepi32_epi16(simde__m512i v) {
  return vector<simde__m256i>(each<std::uint16_t>(lanes<std::uint32_t>(v), [](std::uint32_t x) { return static_cast<std::uint16_t>(x); }));
}
inline simde__m128i cvtepi32_epi8(simde__m512i v) {
  return vector<simde__m128i>(each<std::uint8_t>(lanes<std::uint32_t>(v), [](std::uint32_t x) { return static_cast<std::uint8_t>(x); }));
}
inline simde__m512i cvtps_epi32(simde__m512 v) { return vector<simde__m512i>(each<std::int32_t>(lanes<float>(v), to_int)); }
inline simde__m512i maskz_cvtps_epi32(std::uint16_t keep, simde__m512 v) {
  auto out = each<std::int32_t>(lanes<float>(v), to_int);
  for (int i = 0; i < 16; ++i) out.at[i] = (keep >> i & 1) != 0 ? out.at[i] : 0;
  return vector<simde__m512i>(out);
}
inline simde__m512 cvtph_ps(simde__m256i v) {
  return vector<simde__m512>(
      each<float>(lanes<std::uint16_t>(v), [](std::uint16_t x) { return simde_float16_to_float32(simde_uint16_as_float16(x)); }));
}
// SIMDe multiplies and adds with two roundings.
inline simde__m512 fmadd_ps(simde__m512 a, simde__m512 b, simde__m512 c) {
  const auto x = lanes<float>(a), y = lanes<float>(b), z = lanes<float>(c);
  Lanes<float, 16> out;
  for (int i = 0; i < 16; ++i) out.at[i] = std::fma(x.at[i], y.at[i], z.at[i]);
  return vector<simde__m512>(out);
}
// SIMDe leaves the sign of -0.
inline simde__m512 abs_ps(simde__m512 v) {
  return vector<simde__m512>(each<float>(lanes<float>(v), [](float x) { return std::fabs(x); }));
}
inline simde__m256 extractf32x8_ps(simde__m512 v, int half) {
  const auto in = lanes<float>(v);
  Lanes<float, 8> out;
  std::copy_n(in.at + 8 * half, 8, out.at);
  return vector<simde__m256>(out);
}
inline void mask_storeu_ps(void* to, std::uint16_t keep, simde__m512 v) {
  const auto in = lanes<float>(v);
  for (int i = 0; i < 16; ++i) {
    if ((keep >> i & 1) != 0) static_cast<float*>(to)[i] = in.at[i];
  }
}
inline std::int32_t reduce_add_epi32(simde__m512i v) {
  std::uint32_t sum = 0;
  for (const std::uint32_t x : lanes<std::uint32_t>(v).at) sum += x;
  return static_cast<std::int32_t>(sum);
}
inline std::uint32_t reduce_max_epu32(simde__m512i v) {
  const auto in = lanes<std::uint32_t>(v);
  return *std::max_element(in.at, in.at + 16);
}
// Quarters 0 and 1 of the result from a, 2 and 3 from b.
inline simde__m512 shuffle_f32x4(simde__m512 a, simde__m512 b, int control) {
  const auto x = lanes<float>(a), y = lanes<float>(b);
  Lanes<float, 16> out;
  for (int quarter = 0; quarter < 4; ++quarter) {
    std::copy_n((quarter < 2 ? x : y).at + 4 * (control >> (2 * quarter) & 3), 4, out.at + 4 * quarter);
  }
  return vector<simde__m512>(out);
}
// The tree of halves, as GCC expands it, in case a lane is NaN.
inline float reduce_max_ps(simde__m512 v) {
  auto in = lanes<float>(v);
  for (int n = 8; n > 0; n /= 2) {
    for (int i = 0; i < n; ++i) in.at[i] = in.at[i] > in.at[i + n] ? in.at[i] : in.at[i + n];
  }
  return in.at[0];
}

}  // namespace gritstone_emulated

using __mmask16 = std::uint16_t;
#define _MM_FROUND_NO_EXC SIMDE_MM_FROUND_NO_EXC
#undef _mm512_abs_ps
#undef _mm512_fmadd_ps
#undef _mm512_cvtepi32_ps
#undef _mm512_maskz_cvtps_epi32
#define _mm512_cvtepi32_ps gritstone_emulated::cvtepi32_ps
#define _mm512_cvtepi8_epi32 gritstone_emulated::cvtepi8_epi32
#define _mm512_cvtepu16_epi32 gritstone_emulated::cvtepu16_epi32
#define _mm512_cvtepi32_epi16 gritstone_emulated::cvtepi32_epi16
#define _mm512_cvtepi32_epi8 gritstone_emulated::cvtepi32_epi8
#define _mm512_cvtps_epi32 gritstone_emulated::cvtps_epi32
#define _mm512_maskz_cvtps_epi32 gritstone_emulated::maskz_cvtps_epi32
#define _mm512_cvtph_ps gritstone_emulated::cvtph_ps
#define _mm512_abs_ps gritstone_emulated::abs_ps
#define _mm512_fmadd_ps gritstone_emulated::fmadd_ps
#define _mm512_extractf32x8_ps gritstone_emulated::extractf32x8_ps
#define _mm512_mask_storeu_ps gritstone_emulated::mask_storeu_ps
#define _mm512_reduce_add_epi32 gritstone_emulated::reduce_add_epi32
#define _mm512_reduce_max_epu32 gritstone_emulated::reduce_max_epu32
#define _mm512_shuffle_f32x4 gritstone_emulated::shuffle_f32x4
#define _mm512_reduce_max_ps gritstone_emulated::reduce_max_ps
