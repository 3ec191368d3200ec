// Panels with AVX-512 VNNI: one panel times 1..8 tokens. The weights of 32 columns are unpacked to eight registers of unsigned bytes, then
// each token's four-byte activations are broadcast from memory into vpdpbusd: 8 of those per token beside one conversion and two or three
// f32 operations, so at most 8 / 10 (affine: 8 / 11) of the peak of 64 products per cycle. 8 tokens: 8 weights + 8 integer + 8 f32 sums.
#include <array>
#include <utility>

#include "model/kernels/matmul_avx512.h"
#include "model/kernels/matmul_tiles.h"
#include "model/kernels/target.h"

#if defined(__x86_64__)
#include <immintrin.h>

GS_TARGET_BEGIN_AVX512
namespace gritstone {
namespace {

using panel::Format;
using panel::Tile;

#define GS_INLINE [[gnu::always_inline]] inline

GS_INLINE __m512i load(const std::uint8_t* p) noexcept { return _mm512_loadu_si512(p); }

// v shifted right by n bits (left if n < 0) within 32-bit lanes; the caller masks what crosses bytes.
template <int N>
GS_INLINE __m512i shift(__m512i v) noexcept {
  if constexpr (N > 0) return _mm512_srli_epi32(v, N);
  if constexpr (N < 0) return _mm512_slli_epi32(v, -N);
  return v;
}

// Quad J of 32 columns as unsigned bytes.
template <Format F, int J>
GS_INLINE __m512i quad(const std::uint8_t* planes) noexcept {
  __m512i code;
  if constexpr (F.base_bits == 8) code = load(planes + 64 * J);
  if constexpr (F.base_bits == 4) code = _mm512_and_si512(shift<4 * (J / 4)>(load(planes + 64 * (J % 4))), _mm512_set1_epi8(15));
  if constexpr (F.base_bits == 2) code = _mm512_and_si512(shift<2 * (J % 4)>(load(planes + 64 * (J / 4))), _mm512_set1_epi8(3));
  constexpr int kOr = 0xF8;  // a | (b & c)
  const std::uint8_t* high = planes + 64 * F.base_bits;
  if constexpr (F.high_bits == 1) {
    code = _mm512_ternarylogic_epi32(code, shift<J - F.base_bits>(load(high)), _mm512_set1_epi8(1 << F.base_bits), kOr);
  }
  if constexpr (F.high_bits == 2) {
    code = _mm512_ternarylogic_epi32(code, shift<2 * (J % 4) - F.base_bits>(load(high + 64 * (J / 4))), _mm512_set1_epi8(3 << F.base_bits),
                                     kOr);
  }
  return code;
}

GS_INLINE __m512 load_f16(const std::uint8_t* p) noexcept {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
GS_INLINE __m512 load_i8(const std::uint8_t* p) noexcept {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}

GS_INLINE __m512i broadcast(const std::int8_t* q) noexcept {
  int word;
  __builtin_memcpy(&word, q, sizeof word);
  return _mm512_set1_epi32(word);
}

// Adds quads FIRST .. FIRST + N - 1 (one scale group) of every token.
template <Format F, int T, int First, int N>
GS_INLINE void add_group(const __m512i (&w)[8], const Tile& tile, std::size_t column, const float* a, const float* term, __m512 s, __m512 m,
                         __m512 (&acc)[T]) noexcept {
  __m512i dot[T];
#pragma GCC unroll 8
  for (int t = 0; t < T; ++t) dot[t] = F.affine ? _mm512_setzero_si512() : _mm512_castps_si512(_mm512_set1_ps(term[t]));
#pragma GCC unroll 8
  for (int j = First; j < First + N; ++j) {
#pragma GCC unroll 8
    for (int t = 0; t < T; ++t) dot[t] = _mm512_dpbusd_epi32(dot[t], w[j], broadcast(tile.q[t] + column + 4 * static_cast<std::size_t>(j)));
  }
#pragma GCC unroll 8
  for (int t = 0; t < T; ++t) {
    acc[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[t]), _mm512_mul_ps(s, _mm512_set1_ps(a[t])), acc[t]);
    if constexpr (F.affine) acc[t] = _mm512_fmadd_ps(m, _mm512_set1_ps(term[t]), acc[t]);
  }
}

template <Format F, int T>
void multiply_tile(const Tile& tile) noexcept {
  constexpr std::size_t kBlock = F.block;
  const std::uint8_t* scales = tile.panel;
  const std::uint8_t* planes = tile.panel + F.scale_region(tile.cols);
  const float* terms = tile.terms;
  __m512 acc[T];
#pragma GCC unroll 8
  for (int t = 0; t < T; ++t) acc[t] = _mm512_setzero_ps();

  for (std::size_t column = 0; column < tile.cols; scales += F.scale_bytes()) {
    const __m512 d = load_f16(scales);
    const __m512 dm = F.affine ? load_f16(scales + 32) : _mm512_setzero_ps();
    const std::uint8_t* sub = scales + F.head_bytes();
    for (std::size_t end = column + kBlock; column < end; column += 32) {
      __m512i w[8];
      [&]<int... J>(std::integer_sequence<int, J...>) __attribute__((always_inline)) { ((w[J] = quad<F, J>(planes)), ...); }
      (std::make_integer_sequence<int, 8>{});
      for (std::size_t i = 0; i < F.plane_bytes(); i += 64)
        _mm_prefetch(reinterpret_cast<const char*>(planes + tile.prefetch + i), _MM_HINT_T1);
      planes += F.plane_bytes();
      __m512 s = d;
      __m512 m = dm;
      const auto next_scales = [&]() __attribute__((always_inline)) {
        if constexpr (F.super()) {
          s = _mm512_mul_ps(d, load_i8(sub));
          if constexpr (F.affine) m = _mm512_mul_ps(dm, load_i8(sub + 16 * F.groups()));
          sub += 16;
        }
      };
      next_scales();
      if constexpr (F.group == 32) {
        add_group<F, T, 0, 8>(w, tile, column, terms, terms + T, s, m, acc);
      } else {
        add_group<F, T, 0, 4>(w, tile, column, terms, terms + T, s, m, acc);
        next_scales();
        add_group<F, T, 4, 4>(w, tile, column, terms, terms + 2 * T, s, m, acc);
      }
      terms += panel::terms_per_group(F) * T;
    }
  }
  const auto keep = static_cast<__mmask16>((1u << tile.lanes) - 1u);
#pragma GCC unroll 8
  for (int t = 0; t < T; ++t) _mm512_mask_storeu_ps(tile.y + static_cast<std::size_t>(t) * tile.y_stride, keep, acc[t]);
}

template <Format F>
constexpr std::array<panel::TileKernel, 8> kTiles = {multiply_tile<F, 1>, multiply_tile<F, 2>, multiply_tile<F, 3>, multiply_tile<F, 4>,
                                                     multiply_tile<F, 5>, multiply_tile<F, 6>, multiply_tile<F, 7>, multiply_tile<F, 8>};

template <Format F>
void run(const MatmulTask& task) noexcept {
  panel::run_tiles(task, F, kTiles<F>.data(), kTiles<F>.size(), true);
}

}  // namespace

void matmul_panels_avx512(const MatmulTask& task) noexcept {
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
