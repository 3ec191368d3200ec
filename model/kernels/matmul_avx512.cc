// AVX-512 with VNNI: activation quantisation, kRows products and the kernel table. Panels: matmul_avx512_panels.cc.
#include "model/kernels/matmul_avx512.h"

#include <cstring>

#include "model/kernels/matmul.h"
#include "model/kernels/matmul_quantize.h"
#include "model/kernels/target.h"

#if defined(__x86_64__)
#include <immintrin.h>

// clang-format off: the order is the point
GS_TARGET_BEGIN_AVX512
#include "model/kernels/vec16_avx512.h"
namespace gritstone {
namespace {
// 4 x 6 accumulators, 4 weights and one x fill 29 of 32 registers.
constexpr int kTileRows = 4;
constexpr int kTileTokens = 6;
}  // namespace
}  // namespace gritstone
#include "model/kernels/matmul_rows_impl.h"
// clang-format on

namespace gritstone {
namespace {

void quantize_group(const float* in, std::int8_t* q, float* scale, std::int32_t* sums) noexcept {
  const __m512 lo = _mm512_loadu_ps(in);
  const __m512 hi = _mm512_loadu_ps(in + 16);
  const __m512i magnitude = _mm512_set1_epi32(0x7FFFFFFF);
  const __m512i max =
      _mm512_max_epu32(_mm512_and_si512(_mm512_castps_si512(lo), magnitude), _mm512_and_si512(_mm512_castps_si512(hi), magnitude));
  const quantize::GroupScale group = quantize::group_scale(_mm512_reduce_max_epu32(max));
  *scale = group.scale;
  // With inverse 0, NaN and Inf would convert to INT_MIN: keep no lane.
  const __mmask16 keep = group.inverse == 0.0f ? 0 : 0xFFFF;
  const __m512 inverse = _mm512_set1_ps(group.inverse);
  const __m512i qlo = _mm512_maskz_cvtps_epi32(keep, _mm512_mul_ps(lo, inverse));
  const __m512i qhi = _mm512_maskz_cvtps_epi32(keep, _mm512_mul_ps(hi, inverse));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(q), _mm512_cvtepi32_epi8(qlo));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(q + 16), _mm512_cvtepi32_epi8(qhi));
  sums[0] = _mm512_reduce_add_epi32(qlo);
  sums[1] = _mm512_reduce_add_epi32(qhi);
}

void quantize_rows(Activations& x, std::size_t row_begin, std::size_t row_end) noexcept {
  const std::size_t groups = x.cols / kActivationGroup;
  for (std::size_t row = row_begin; row < row_end; ++row) {
    for (std::size_t g = 0; g < groups; ++g) {
      const std::size_t at = row * x.cols + g * kActivationGroup;
      quantize_group(x.x + at, x.q + at, x.scale + row * groups + g, x.sum + (row * groups + g) * 2);
    }
  }
}

void matmul(const MatmulTask& task) noexcept {
  if (task.w->layout == MatrixLayout::kPanels) return matmul_panels_avx512(task);
  matmul_rows(task);
}

}  // namespace
}  // namespace gritstone
GS_TARGET_END

namespace gritstone {
const MatmulKernels& matmul_avx512() noexcept {
  static constexpr MatmulKernels kKernels{quantize_rows, matmul};
  return kKernels;
}

}  // namespace gritstone
#else
namespace gritstone {
const MatmulKernels& matmul_avx512() noexcept { return matmul_scalar(); }
}  // namespace gritstone
#endif
