// AVX2 with FMA and F16C: activation quantisation, kRows products and the kernel table. Panels: matmul_avx2_panels.cc.
#include "model/kernels/matmul_avx2.h"

#include <cstring>

#include "model/kernels/matmul.h"
#include "model/kernels/matmul_quantize.h"
#include "model/kernels/target.h"

#if defined(__x86_64__)
#include <immintrin.h>

// clang-format off: the order is the point
GS_TARGET_BEGIN_AVX2
#include "model/kernels/vec16_avx2.h"
namespace gritstone {
namespace {
// 2 x 2 sums of two registers each: 8 of 16 registers, with 4 of weights and 2 of x.
constexpr int kTileRows = 2;
constexpr int kTileTokens = 2;
}  // namespace
}  // namespace gritstone
#include "model/kernels/matmul_rows_impl.h"
// clang-format on

namespace gritstone {
namespace {

std::uint32_t max_lane(__m256i v) noexcept {
  __m128i max = _mm_max_epu32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  max = _mm_max_epu32(max, _mm_shuffle_epi32(max, 0x4E));
  max = _mm_max_epu32(max, _mm_shuffle_epi32(max, 0xB1));
  return static_cast<std::uint32_t>(_mm_cvtsi128_si32(max));
}

std::int32_t sum_lanes(__m256i v) noexcept {
  __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4E));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xB1));
  return _mm_cvtsi128_si32(sum);
}

void quantize_group(const float* in, std::int8_t* q, float* scale, std::int32_t* sums) noexcept {
  __m256 x[4];
  __m256i max = _mm256_setzero_si256();
  const __m256i magnitude = _mm256_set1_epi32(0x7FFFFFFF);
  for (int i = 0; i < 4; ++i) {
    x[i] = _mm256_loadu_ps(in + 8 * i);
    max = _mm256_max_epu32(max, _mm256_and_si256(_mm256_castps_si256(x[i]), magnitude));
  }
  const quantize::GroupScale group = quantize::group_scale(max_lane(max));
  *scale = group.scale;
  // With inverse 0, NaN and Inf would convert to INT_MIN: keep no lane.
  const __m256i keep = _mm256_set1_epi32(group.inverse == 0.0f ? 0 : -1);
  const __m256 inverse = _mm256_set1_ps(group.inverse);
  __m256i rounded[4];
  for (int i = 0; i < 4; ++i) rounded[i] = _mm256_and_si256(_mm256_cvtps_epi32(_mm256_mul_ps(x[i], inverse)), keep);
  sums[0] = sum_lanes(_mm256_add_epi32(rounded[0], rounded[1]));
  sums[1] = sum_lanes(_mm256_add_epi32(rounded[2], rounded[3]));
  // The packs work within 128-bit halves; the permutation puts the four-byte pieces back in order.
  const __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(rounded[0], rounded[1]), _mm256_packs_epi32(rounded[2], rounded[3]));
  const __m256i ordered = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(q), ordered);
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
  if (task.w->layout == MatrixLayout::kPanels) return matmul_panels_avx2(task);
  matmul_rows(task);
}

}  // namespace
}  // namespace gritstone
GS_TARGET_END

namespace gritstone {
const MatmulKernels& matmul_avx2() noexcept {
  static constexpr MatmulKernels kKernels{quantize_rows, matmul};
  return kKernels;
}
}  // namespace gritstone
#else
namespace gritstone {
const MatmulKernels& matmul_avx2() noexcept { return matmul_scalar(); }
}  // namespace gritstone
#endif
