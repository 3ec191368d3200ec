// Vec16 of vec16_scalar.h in two AVX2 registers: same lanes, same order, same bits. Include between GS_TARGET_BEGIN_AVX2 and
// GS_TARGET_END, after <immintrin.h>.
#pragma once

namespace gritstone {
namespace {

struct Vec16 {
  __m256 lo, hi;

  static Vec16 load(const float* p) noexcept { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
  static Vec16 set1(float x) noexcept { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
  void store(float* p) const noexcept {
    _mm256_storeu_ps(p, lo);
    _mm256_storeu_ps(p + 8, hi);
  }

  static Vec16 load_bf16(const std::uint16_t* p) noexcept { return {widen_bf16(p), widen_bf16(p + 8)}; }
  void store_bf16(std::uint16_t* p) const noexcept {
    // packus saturates unsigned 32 to 16 bits (values are below 65536 after the shift) and interleaves 128-bit halves.
    const __m256i packed = _mm256_packus_epi32(round_bf16(lo), round_bf16(hi));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_permute4x64_epi64(packed, 0xD8));
  }
  static Vec16 load_f16(const std::uint16_t* p) noexcept {
    return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
            _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8)))};
  }
  static Vec16 load_u4(const std::uint8_t* p, bool high) noexcept {
    __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    bytes = _mm_and_si128(high ? _mm_srli_epi32(bytes, 4) : bytes, _mm_set1_epi8(15));
    return {_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)), _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8)))};
  }
  static Vec16 load_i8(const std::int8_t* p) noexcept {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)), _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8)))};
  }
  void store_i8(std::int8_t* p) const noexcept {
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(_mm256_cvtps_epi32(lo), _mm256_cvtps_epi32(hi)), 0xD8);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
  }

  static Vec16 fma(Vec16 a, Vec16 b, Vec16 c) noexcept { return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)}; }
  static Vec16 max(Vec16 a, Vec16 b) noexcept { return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)}; }
  static Vec16 min(Vec16 a, Vec16 b) noexcept { return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)}; }
  static Vec16 abs(Vec16 a) noexcept {
    const __m256 mask = _mm256_castsi256_ps(_mm256_set1_epi32(0x7FFFFFFF));
    return {_mm256_and_ps(a.lo, mask), _mm256_and_ps(a.hi, mask)};
  }
  static Vec16 round(Vec16 a) noexcept {
    constexpr int kMode = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    return {_mm256_round_ps(a.lo, kMode), _mm256_round_ps(a.hi, kMode)};
  }
  static Vec16 scale_pow2(Vec16 a, Vec16 n) noexcept { return {_mm256_mul_ps(a.lo, pow2(n.lo)), _mm256_mul_ps(a.hi, pow2(n.hi))}; }

  float sum() const noexcept {
    const __m256 a = _mm256_add_ps(lo, hi);
    const __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 c = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_shuffle_ps(c, c, 1)));
  }
  float max_lane() const noexcept {
    const __m256 a = _mm256_max_ps(lo, hi);
    const __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 c = _mm_max_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_max_ss(c, _mm_shuffle_ps(c, c, 1)));
  }
  static Vec16 sum_rows(const Vec16* rows) noexcept { return {sum_8_rows(rows), sum_8_rows(rows + 8)}; }

 private:
  static __m256 widen_bf16(const std::uint16_t* p) noexcept {
    const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
  }
  static __m256i round_bf16(__m256 x) noexcept {
    const __m256i bits = _mm256_castps_si256(x);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    return _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7FFF)), odd), 16);
  }
  static __m256 pow2(__m256 n) noexcept {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
  }
  // Four rows' quarter sums: 128-bit half h of the result holds quarter h of each of the four rows.
  static __m256 quarter_sums(__m256 a, __m256 b, __m256 c, __m256 d) noexcept {
    const __m256d ab = _mm256_castps_pd(_mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b)));
    const __m256d cd = _mm256_castps_pd(_mm256_add_ps(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d)));
    return _mm256_add_ps(_mm256_castpd_ps(_mm256_unpacklo_pd(ab, cd)), _mm256_castpd_ps(_mm256_unpackhi_pd(ab, cd)));
  }
  static __m128 sum_4_rows(const Vec16* r) noexcept {
    const __m256 first = quarter_sums(r[0].lo, r[1].lo, r[2].lo, r[3].lo);
    const __m256 second = quarter_sums(r[0].hi, r[1].hi, r[2].hi, r[3].hi);
    const __m128 a = _mm_add_ps(_mm256_castps256_ps128(first), _mm256_extractf128_ps(first, 1));
    const __m128 b = _mm_add_ps(_mm256_castps256_ps128(second), _mm256_extractf128_ps(second, 1));
    return _mm_add_ps(a, b);
  }
  static __m256 sum_8_rows(const Vec16* r) noexcept { return _mm256_set_m128(sum_4_rows(r + 4), sum_4_rows(r)); }
};

// Not friends defined inside: GCC compiles those for the file's baseline, not for the target region.
inline Vec16 operator+(Vec16 a, Vec16 b) noexcept { return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)}; }
inline Vec16 operator-(Vec16 a, Vec16 b) noexcept { return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)}; }
inline Vec16 operator*(Vec16 a, Vec16 b) noexcept { return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)}; }
inline Vec16 operator/(Vec16 a, Vec16 b) noexcept { return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)}; }

}  // namespace
}  // namespace gritstone
