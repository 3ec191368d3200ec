// Vec16 of vec16_scalar.h in one AVX-512 register: same lanes, same order, same bits. Include between GS_TARGET_BEGIN_AVX512 and
// GS_TARGET_END, after <immintrin.h>.
#pragma once

namespace gritstone {
namespace {

struct Vec16 {
  __m512 v;

  static Vec16 load(const float* p) noexcept { return {_mm512_loadu_ps(p)}; }
  static Vec16 set1(float x) noexcept { return {_mm512_set1_ps(x)}; }
  void store(float* p) const noexcept { _mm512_storeu_ps(p, v); }

  static Vec16 load_bf16(const std::uint16_t* p) noexcept {
    const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16))};
  }
  void store_bf16(std::uint16_t* p) const noexcept {
    const __m512i bits = _mm512_castps_si512(v);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7FFF)), odd);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16)));
  }
  static Vec16 load_f16(const std::uint16_t* p) noexcept {
    return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
  }
  static Vec16 load_u4(const std::uint8_t* p, bool high) noexcept {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_and_si128(high ? _mm_srli_epi32(bytes, 4) : bytes, _mm_set1_epi8(15))))};
  }
  static Vec16 load_i8(const std::int8_t* p) noexcept {
    return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))))};
  }
  void store_i8(std::int8_t* p) const noexcept {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v)));
  }

  static Vec16 fma(Vec16 a, Vec16 b, Vec16 c) noexcept { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
  static Vec16 max(Vec16 a, Vec16 b) noexcept { return {_mm512_max_ps(a.v, b.v)}; }
  static Vec16 min(Vec16 a, Vec16 b) noexcept { return {_mm512_min_ps(a.v, b.v)}; }
  static Vec16 abs(Vec16 a) noexcept { return {_mm512_abs_ps(a.v)}; }
  static Vec16 round(Vec16 a) noexcept { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
  static Vec16 scale_pow2(Vec16 a, Vec16 n) noexcept {
    const __m512i exponent = _mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n.v), _mm512_set1_epi32(127)), 23);
    return {_mm512_mul_ps(a.v, _mm512_castsi512_ps(exponent))};
  }

  float sum() const noexcept {
    const __m256 a = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    const __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 c = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_shuffle_ps(c, c, 1)));
  }
  float max_lane() const noexcept { return _mm512_reduce_max_ps(v); }
  static Vec16 sum_rows(const Vec16* rows) noexcept {
    __m512 pair[8];
    for (int i = 0; i < 8; ++i) {
      const __m512 a = rows[2 * i].v, b = rows[2 * i + 1].v;
      pair[i] = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    }
    __m512 quad[4];
    for (int i = 0; i < 4; ++i) {
      const __m512d a = _mm512_castps_pd(pair[2 * i]), b = _mm512_castps_pd(pair[2 * i + 1]);
      quad[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
    }
    const __m512 low = _mm512_add_ps(_mm512_shuffle_f32x4(quad[0], quad[1], 0x88), _mm512_shuffle_f32x4(quad[0], quad[1], 0xDD));
    const __m512 high = _mm512_add_ps(_mm512_shuffle_f32x4(quad[2], quad[3], 0x88), _mm512_shuffle_f32x4(quad[2], quad[3], 0xDD));
    return {_mm512_add_ps(_mm512_shuffle_f32x4(low, high, 0x88), _mm512_shuffle_f32x4(low, high, 0xDD))};
  }
};

// Not friends defined inside: GCC compiles those for the file's baseline, not for the target region.
inline Vec16 operator+(Vec16 a, Vec16 b) noexcept { return {_mm512_add_ps(a.v, b.v)}; }
inline Vec16 operator-(Vec16 a, Vec16 b) noexcept { return {_mm512_sub_ps(a.v, b.v)}; }
inline Vec16 operator*(Vec16 a, Vec16 b) noexcept { return {_mm512_mul_ps(a.v, b.v)}; }
inline Vec16 operator/(Vec16 a, Vec16 b) noexcept { return {_mm512_div_ps(a.v, b.v)}; }

}  // namespace
}  // namespace gritstone
