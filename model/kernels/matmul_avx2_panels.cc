// Panels with AVX2: one panel times 1..4 tokens, eight rows at a time. Without VNNI the products of unsigned weights and signed activations
// pass through 16 bits (maddubs); how many quads may be added there before widening follows from the largest code:
//   15 * 127 * 2 * 8 = 30,480, 31 * 127 * 2 * 4 = 31,496, 63 * 127 * 2 * 2 = 32,004, all below 32,767.
// Q8_0's codes do not fit even once: |w| and x with w's sign take their place (128 * 127 * 2 = 32,512), so its sums need no zero point.
#include <array>
#include <utility>

#include "model/kernels/matmul_avx2.h"
#include "model/kernels/matmul_tiles.h"
#include "model/kernels/target.h"

#if defined(__x86_64__)
#include <immintrin.h>

GS_TARGET_BEGIN_AVX2
namespace gritstone {
namespace {

using panel::Format;
using panel::Tile;

#define GS_INLINE [[gnu::always_inline]] inline

constexpr int kMaxTokens = 4;

template <Format F>
constexpr bool kSigned = F.base_bits == 8;

template <Format F>
constexpr int kQuadsIn16Bits = kSigned<F>                       ? 1
                               : F.base_bits + F.high_bits <= 4 ? 8
                               : F.base_bits + F.high_bits == 5 ? 4
                                                                : 2;

GS_INLINE __m256i load(const std::uint8_t* p) noexcept { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }

// v shifted right by n bits (left if n < 0) within 32-bit lanes; the caller masks what crosses bytes.
template <int N>
GS_INLINE __m256i shift(__m256i v) noexcept {
  if constexpr (N > 0) return _mm256_srli_epi32(v, N);
  if constexpr (N < 0) return _mm256_slli_epi32(v, -N);
  return v;
}

// Quad J of eight rows: unsigned codes, or Q8_0's signed values. `planes` points at the first of the rows.
template <Format F, int J>
GS_INLINE __m256i quad(const std::uint8_t* planes) noexcept {
  __m256i code;
  if constexpr (F.base_bits == 8) code = _mm256_xor_si256(load(planes + 64 * J), _mm256_set1_epi8(-128));
  if constexpr (F.base_bits == 4) code = _mm256_and_si256(shift<4 * (J / 4)>(load(planes + 64 * (J % 4))), _mm256_set1_epi8(15));
  if constexpr (F.base_bits == 2) code = _mm256_and_si256(shift<2 * (J % 4)>(load(planes + 64 * (J / 4))), _mm256_set1_epi8(3));
  const std::uint8_t* high = planes + 64 * F.base_bits;
  if constexpr (F.high_bits == 1) {
    code = _mm256_or_si256(code, _mm256_and_si256(shift<J - F.base_bits>(load(high)), _mm256_set1_epi8(1 << F.base_bits)));
  }
  if constexpr (F.high_bits == 2) {
    const __m256i moved = shift<2 * (J % 4) - F.base_bits>(load(high + 64 * (J / 4)));
    code = _mm256_or_si256(code, _mm256_and_si256(moved, _mm256_set1_epi8(3 << F.base_bits)));
  }
  return code;
}

GS_INLINE __m256 load_f16(const std::uint8_t* p) noexcept { return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
GS_INLINE __m256 load_i8(const std::uint8_t* p) noexcept {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}

GS_INLINE __m256i broadcast(const std::int8_t* q) noexcept {
  int word;
  __builtin_memcpy(&word, q, sizeof word);
  return _mm256_set1_epi32(word);
}

// Makes a value opaque to the compiler. GCC 12 turns chains of integer sums into trees and loads what both halves of a panel need once for
// both; either way more values are alive than there are registers, and the spills cost a third of the speed.
template <class Value>
GS_INLINE void keep_order(Value& value) noexcept {
  if constexpr (sizeof(Value) == 32) {
    asm("" : "+x"(value));
  } else {
    asm("" : "+r"(value));
  }
}

// Adds quad First + J to `sum16`, and that to `dot` where sixteen bits are full.
template <Format F, int T, int First, int N, int J>
GS_INLINE void add_quad(const std::uint8_t* planes, const std::int8_t* const (&q)[T], __m256i (&sum16)[T], __m256i (&dot)[T]) noexcept {
  const __m256i w = quad<F, First + J>(planes);
  const __m256i magnitude = kSigned<F> ? _mm256_abs_epi8(w) : w;
#pragma GCC unroll 4
  for (int t = 0; t < T; ++t) {
    const __m256i x = broadcast(q[t] + 4 * (First + J));
    const __m256i products = _mm256_maddubs_epi16(magnitude, kSigned<F> ? _mm256_sign_epi8(x, w) : x);
    constexpr int kRun = kQuadsIn16Bits<F>;
    sum16[t] = J % kRun == 0 ? products : _mm256_add_epi16(sum16[t], products);
    keep_order(sum16[t]);
    if constexpr (J % kRun == kRun - 1 || J == N - 1) {
      dot[t] = _mm256_add_epi32(dot[t], _mm256_madd_epi16(sum16[t], _mm256_set1_epi16(1)));
      keep_order(dot[t]);
    }
  }
}

// Adds quads First .. First + N - 1 (one scale group) of eight rows for every token.
template <Format F, int T, int First, int N>
GS_INLINE void add_group(const std::uint8_t* planes, const std::int8_t* const (&q)[T], const float* a, const float* term, __m256 s,
                         __m256 m, __m256 (&acc)[T]) noexcept {
  __m256i dot[T];
  __m256i sum16[T];
#pragma GCC unroll 4
  for (int t = 0; t < T; ++t) {
    dot[t] = F.affine || kSigned<F> ? _mm256_setzero_si256() : _mm256_castps_si256(_mm256_set1_ps(term[t]));
    sum16[t] = _mm256_setzero_si256();
  }
  [&]<int... J>(std::integer_sequence<int, J...>) __attribute__((always_inline)) {
    (add_quad<F, T, First, N, J>(planes, q, sum16, dot), ...);
  }
  (std::make_integer_sequence<int, N>{});
#pragma GCC unroll 4
  for (int t = 0; t < T; ++t) {
    acc[t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot[t]), _mm256_mul_ps(s, _mm256_set1_ps(a[t])), acc[t]);
    if constexpr (F.affine) acc[t] = _mm256_fmadd_ps(m, _mm256_set1_ps(term[t]), acc[t]);
  }
}

// Rows 8 Half .. 8 Half + 7 of 32 columns. `sub`: this group's i8 scales.
template <Format F, int T, int Half>
GS_INLINE void add_columns(const std::uint8_t* planes, const std::uint8_t* scales, const std::uint8_t* sub,
                           const std::int8_t* const (&q)[T], const float* terms, __m256 (&acc)[T]) noexcept {
  const __m256 d = load_f16(scales + 16 * Half);
  const __m256 dm = F.affine ? load_f16(scales + 32 + 16 * Half) : _mm256_setzero_ps();
  const auto scale = [&](int group) __attribute__((always_inline)) {
    return F.super() ? _mm256_mul_ps(d, load_i8(sub + 16 * group + 8 * Half)) : d;
  };
  const auto min = [&](int group) __attribute__((always_inline)) {
    return F.super() && F.affine ? _mm256_mul_ps(dm, load_i8(sub + 16 * (static_cast<int>(F.groups()) + group) + 8 * Half)) : dm;
  };
  planes += 32 * Half;
  if constexpr (F.group == 32) {
    add_group<F, T, 0, 8>(planes, q, terms, terms + T, scale(0), min(0), acc);
  } else {
    add_group<F, T, 0, 4>(planes, q, terms, terms + T, scale(0), min(0), acc);
    add_group<F, T, 4, 4>(planes, q, terms, terms + 2 * T, scale(1), min(1), acc);
  }
}

template <int T>
GS_INLINE void store(const Tile& tile, const __m256 (&acc)[T], std::size_t half) noexcept {
  const auto left = static_cast<int>(tile.lanes) - static_cast<int>(8 * half);
  if (left <= 0) return;
  const __m256i keep = _mm256_cmpgt_epi32(_mm256_set1_epi32(left), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  for (int t = 0; t < T; ++t) _mm256_maskstore_ps(tile.y + static_cast<std::size_t>(t) * tile.y_stride + 8 * half, keep, acc[t]);
}

template <Format F, int T>
void multiply_tile(const Tile& tile) noexcept {
  const std::uint8_t* scales = tile.panel;
  const std::uint8_t* planes = tile.panel + F.scale_region(tile.cols);
  const float* terms = tile.terms;
  const std::int8_t* q[T];
  __m256 low[T], high[T];
#pragma GCC unroll 4
  for (int t = 0; t < T; ++t) {
    q[t] = tile.q[t];
    low[t] = high[t] = _mm256_setzero_ps();
  }
  for (std::size_t column = 0; column < tile.cols; column += F.block, scales += F.scale_bytes()) {
    const std::uint8_t* sub = scales + F.head_bytes();
    for (int k = 0; k < F.block; k += 32, sub += 16 * 32 / F.group) {
      for (std::size_t i = 0; i < F.plane_bytes(); i += 64) {
        _mm_prefetch(reinterpret_cast<const char*>(planes + tile.prefetch + i), _MM_HINT_T1);
      }
      add_columns<F, T, 0>(planes, scales, sub, q, terms, low);
#pragma GCC unroll 4
      for (int t = 0; t < T; ++t) keep_order(q[t]);
      add_columns<F, T, 1>(planes, scales, sub, q, terms, high);
      planes += F.plane_bytes();
      terms += panel::terms_per_group(F) * T;
#pragma GCC unroll 4
      for (int t = 0; t < T; ++t) q[t] += 32;
    }
  }
  store<T>(tile, low, 0);
  store<T>(tile, high, 1);
}

template <Format F>
constexpr std::array<panel::TileKernel, kMaxTokens> kTiles = {multiply_tile<F, 1>, multiply_tile<F, 2>, multiply_tile<F, 3>,
                                                              multiply_tile<F, 4>};

template <Format F>
void run(const MatmulTask& task) noexcept {
  panel::run_tiles(task, F, kTiles<F>.data(), kMaxTokens, !kSigned<F>);
}

}  // namespace

void matmul_panels_avx2(const MatmulTask& task) noexcept {
  switch (task.w->type) {
    case DType::kQ4_0:
      return run<panel::kQ4_0>(task);
    case DType::kQ4_1:
      return run<panel::kQ4_1>(task);
    case DType::kQ5_0:
      return run<panel::kQ5_0>(task);
    case DType::kQ5_1:
      return run<panel::kQ5_1>(task);
    case DType::kQ8_0:
      return run<panel::kQ8_0>(task);
    case DType::kQ2_K:
      return run<panel::kQ2_K>(task);
    case DType::kQ3_K:
      return run<panel::kQ3_K>(task);
    case DType::kQ4_K:
      return run<panel::kQ4_K>(task);
    case DType::kQ5_K:
      return run<panel::kQ5_K>(task);
    case DType::kQ6_K:
      return run<panel::kQ6_K>(task);
    case DType::kF32:
    case DType::kF16:
    case DType::kBF16:
      return;  // no panel layout
  }
}

}  // namespace gritstone
GS_TARGET_END
#endif
