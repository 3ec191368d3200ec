#include "model/kernels/peak.h"

#include <cstddef>

#include "model/kernels/target.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace gritstone {
namespace {

// 12 accumulators hide a latency of 4-5 cycles at 2 products a cycle and leave registers for the operands. Each starts at a value that the
// compiler does not know: from twelve that it knows to be equal it makes one chain, and counts it twelve times.
constexpr std::size_t kChains = 12;

// Makes the compiler believe that the value is used, so that the loop is not removed.
template <typename T>
inline void keep(T& value) noexcept {
  asm volatile("" : "+m"(value));
}

std::uint64_t scalar_peak(std::uint64_t rounds) noexcept {
  float sums[kChains] = {};
  for (float& sum : sums) keep(sum);
  float a = 1.000001f;
  float b = 0.5f;
  for (std::uint64_t r = 0; r < rounds; ++r) {
    keep(a);
    for (float& sum : sums) sum = sum * a + b;
  }
  for (float& sum : sums) keep(sum);
  return rounds * kChains;
}

}  // namespace
}  // namespace gritstone

#if defined(__x86_64__)
GS_TARGET_BEGIN_AVX2
namespace gritstone {
namespace {

std::uint64_t avx2_f32(std::uint64_t rounds) noexcept {
  __m256 sums[kChains] = {};
  for (__m256& sum : sums) asm volatile("" : "+x"(sum));
  __m256 a = _mm256_set1_ps(1.000001f);
  const __m256 b = _mm256_set1_ps(0.5f);
  for (std::uint64_t r = 0; r < rounds; ++r) {
    asm volatile("" : "+x"(a));
#pragma GCC unroll 12
    for (std::size_t i = 0; i < kChains; ++i) sums[i] = _mm256_fmadd_ps(sums[i], a, b);
  }
  for (__m256& sum : sums) asm volatile("" : "+x"(sum));
  return rounds * kChains * 8;
}

std::uint64_t avx2_int8(std::uint64_t rounds) noexcept {
  __m256i sums[kChains] = {};
  for (__m256i& sum : sums) asm volatile("" : "+x"(sum));
  __m256i a = _mm256_set1_epi8(3);
  const __m256i b = _mm256_set1_epi8(-2);
  const __m256i ones = _mm256_set1_epi16(1);
  for (std::uint64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 12
    for (std::size_t i = 0; i < kChains; ++i) {
      asm volatile("" : "+x"(a));
      sums[i] = _mm256_add_epi32(sums[i], _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), ones));
    }
  }
  for (__m256i& sum : sums) asm volatile("" : "+x"(sum));
  return rounds * kChains * 32;
}

}  // namespace
}  // namespace gritstone
GS_TARGET_END

GS_TARGET_BEGIN_AVX512
namespace gritstone {
namespace {

std::uint64_t avx512_f32(std::uint64_t rounds) noexcept {
  __m512 sums[kChains] = {};
  for (__m512& sum : sums) asm volatile("" : "+v"(sum));
  __m512 a = _mm512_set1_ps(1.000001f);
  const __m512 b = _mm512_set1_ps(0.5f);
  for (std::uint64_t r = 0; r < rounds; ++r) {
    asm volatile("" : "+v"(a));
#pragma GCC unroll 12
    for (std::size_t i = 0; i < kChains; ++i) sums[i] = _mm512_fmadd_ps(sums[i], a, b);
  }
  for (__m512& sum : sums) asm volatile("" : "+v"(sum));
  return rounds * kChains * 16;
}

std::uint64_t avx512_int8(std::uint64_t rounds) noexcept {
  __m512i sums[kChains] = {};
  for (__m512i& sum : sums) asm volatile("" : "+v"(sum));
  __m512i a = _mm512_set1_epi8(3);
  const __m512i b = _mm512_set1_epi8(-2);
  for (std::uint64_t r = 0; r < rounds; ++r) {
    asm volatile("" : "+v"(a));
#pragma GCC unroll 12
    for (std::size_t i = 0; i < kChains; ++i) sums[i] = _mm512_dpbusd_epi32(sums[i], a, b);
  }
  for (__m512i& sum : sums) asm volatile("" : "+v"(sum));
  return rounds * kChains * 64;
}

}  // namespace
}  // namespace gritstone
GS_TARGET_END
#endif

namespace gritstone {

std::uint64_t run_peak(std::string_view isa, PeakKind kind, std::uint64_t rounds) noexcept {
#if defined(__x86_64__)
  if (isa == "avx512") return kind == PeakKind::kF32 ? avx512_f32(rounds) : avx512_int8(rounds);
  if (isa == "avx2") return kind == PeakKind::kF32 ? avx2_f32(rounds) : avx2_int8(rounds);
#endif
  return scalar_peak(rounds);
}

}  // namespace gritstone
