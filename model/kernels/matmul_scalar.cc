// The reference every ISA must match bit for bit: plain loops in the order matmul_panel.h and matmul_rows_impl.h fix.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "model/kernels/matmul.h"
#include "model/kernels/matmul_panel.h"
#include "model/kernels/matmul_quantize.h"

namespace gritstone {
namespace {

using panel::Format;

std::size_t row_of(const MatmulTask& task, std::size_t token) noexcept { return task.x_rows != nullptr ? task.x_rows[token] : token; }

void quantize_rows(Activations& x, std::size_t row_begin, std::size_t row_end) noexcept {
  const std::size_t groups = x.cols / kActivationGroup;
  for (std::size_t row = row_begin; row < row_end; ++row) {
    for (std::size_t g = 0; g < groups; ++g) {
      const float* in = x.x + row * x.cols + g * kActivationGroup;
      std::int8_t* q = x.q + row * x.cols + g * kActivationGroup;
      std::uint32_t max_bits = 0;
      for (std::size_t i = 0; i < kActivationGroup; ++i) max_bits = std::max(max_bits, std::bit_cast<std::uint32_t>(in[i]) & 0x7FFFFFFFu);
      const quantize::GroupScale scale = quantize::group_scale(max_bits);
      x.scale[row * groups + g] = scale.scale;
      std::int32_t sums[2] = {0, 0};
      for (std::size_t i = 0; i < kActivationGroup; ++i) {
        q[i] = scale.inverse == 0.0f ? std::int8_t{0} : static_cast<std::int8_t>(std::nearbyint(in[i] * scale.inverse));
        sums[i / 16] += q[i];
      }
      std::memcpy(x.sum + (row * groups + g) * 2, sums, sizeof sums);
    }
  }
}

// Codes of 32 columns, [row][column].
void decode(const Format& format, const std::uint8_t* planes, std::uint8_t codes[kPanelRows][32]) noexcept {
  const std::uint8_t* high = planes + 64 * format.base_bits;
  for (std::size_t lane = 0; lane < kPanelRows; ++lane) {
    for (std::size_t k = 0; k < 32; ++k) {
      const std::size_t quad = k / 4;
      const std::size_t byte = 4 * lane + k % 4;
      int code = 0;
      if (format.base_bits == 8) code = planes[64 * quad + byte];
      if (format.base_bits == 4) code = (planes[64 * (quad % 4) + byte] >> (4 * (quad / 4))) & 15;
      if (format.base_bits == 2) code = (planes[64 * (quad / 4) + byte] >> (2 * (quad % 4))) & 3;
      if (format.high_bits == 1) code |= ((high[byte] >> quad) & 1) << format.base_bits;
      if (format.high_bits == 2) code |= ((high[64 * (quad / 4) + byte] >> (2 * (quad % 4))) & 3) << format.base_bits;
      codes[lane][k] = static_cast<std::uint8_t>(code);
    }
  }
}

struct GroupScales {
  float s[kPanelRows];
  float m[kPanelRows];
};

float f16_at(const std::uint8_t* bytes) noexcept {
  std::uint16_t bits;
  std::memcpy(&bits, bytes, sizeof bits);
  return f16_to_f32(bits);
}

// Scales of group `g` (counted along the whole row).
GroupScales scales_of(const Format& format, const std::uint8_t* panel, std::size_t g) noexcept {
  const std::uint8_t* block = panel + g / format.groups() * format.scale_bytes();
  const std::size_t sub = g % format.groups();
  GroupScales out;
  for (std::size_t lane = 0; lane < kPanelRows; ++lane) {
    out.s[lane] = f16_at(block + 2 * lane);
    out.m[lane] = format.affine ? f16_at(block + 32 + 2 * lane) : 0.0f;
    if (!format.super()) continue;
    const std::uint8_t* codes = block + format.head_bytes() + 16 * sub + lane;
    out.s[lane] *= static_cast<float>(static_cast<std::int8_t>(*codes));
    if (format.affine) out.m[lane] *= static_cast<float>(static_cast<std::int8_t>(codes[16 * format.groups()]));
  }
  return out;
}

void add_group(const Format& format, const MatmulTask& task, const GroupScales& scales, const std::uint8_t codes[kPanelRows][32],
               std::size_t g, std::size_t first_row, std::size_t lanes) noexcept {
  const Activations& x = *task.x;
  const auto group = static_cast<std::size_t>(format.group);
  const std::size_t column = g * group;
  for (std::size_t t = 0; t < task.tokens; ++t) {
    const std::size_t row = row_of(task, t);
    const std::int8_t* q = x.q + row * x.cols + column;
    const float a = x.scale[(row * x.cols + column) / kActivationGroup];
    const std::int32_t* halves = x.sum + (row * x.cols + column) / 16;
    const std::int32_t sum = group == 32 ? halves[0] + halves[1] : halves[0];
    float* y = task.y + t * task.y_stride + first_row;
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      std::int32_t dot = -format.zero_point * sum;
      for (std::size_t i = 0; i < group; ++i) dot += codes[lane][column % 32 + i] * q[i];
      y[lane] = std::fma(static_cast<float>(dot), scales.s[lane] * a, y[lane]);
      if (format.affine) y[lane] = std::fma(scales.m[lane], a * static_cast<float>(sum), y[lane]);
    }
  }
}

void matmul_panels(const MatmulTask& task) noexcept {
  const Matrix& w = *task.w;
  const Format& format = *panel::find_format(w.type);
  const auto group = static_cast<std::size_t>(format.group);
  std::uint8_t codes[kPanelRows][32];
  for (std::size_t p = task.panel_begin; p < task.panel_end; ++p) {
    const std::uint8_t* panel = w.data + p * format.panel_bytes(w.cols);
    const std::size_t first_row = p * kPanelRows;
    const std::size_t lanes = std::min(kPanelRows, w.rows - first_row);
    for (std::size_t t = 0; t < task.tokens; ++t) std::fill_n(task.y + t * task.y_stride + first_row, lanes, 0.0f);
    for (std::size_t g = 0; g < w.cols / group; ++g) {
      if (g * group % 32 == 0) decode(format, panel + format.scale_region(w.cols) + g * group / 32 * format.plane_bytes(), codes);
      add_group(format, task, scales_of(format, panel, g), codes, g, first_row, lanes);
    }
  }
}

// Columns 16 i + l add into lane l in ascending i; then lanes l and l + 8, + 4, + 2, + 1.
float dot_lanes(const float* w, const float* x, std::size_t n, float* lanes) noexcept {
  for (std::size_t k = 0; k < n; ++k) lanes[k % 16] = std::fma(w[k], x[k], lanes[k % 16]);
  float sums[16];
  std::copy_n(lanes, 16, sums);
  for (std::size_t half = 8; half > 0; half /= 2) {
    for (std::size_t l = 0; l < half; ++l) sums[l] += sums[l + half];
  }
  return sums[0];
}

void matmul_rows(const MatmulTask& task) noexcept {
  const Matrix& w = *task.w;
  const std::size_t end = std::min(task.panel_end * kPanelRows, w.rows);
  const std::size_t stride = row_bytes(w.type, w.cols);
  for (std::size_t row = task.panel_begin * kPanelRows; row < end; ++row) {
    for (std::size_t t = 0; t < task.tokens; ++t) {
      float lanes[16] = {};
      const float* x = task.x->x + row_of(task, t) * w.cols;
      // kMatmulScratch is a multiple of every block size, so chunks start on blocks.
      for (std::size_t k = 0; k < w.cols; k += kMatmulScratch) {
        const std::size_t n = std::min(kMatmulScratch, w.cols - k);
        if (t == 0 || w.cols > kMatmulScratch) dequantize_row(w.type, w.data + row * stride + row_bytes(w.type, k), task.scratch, n);
        task.y[t * task.y_stride + row] = dot_lanes(task.scratch, x + k, n, lanes);
      }
    }
  }
}

void matmul(const MatmulTask& task) noexcept {
  if (task.w->layout == MatrixLayout::kPanels) return matmul_panels(task);
  matmul_rows(task);
}

}  // namespace

const MatmulKernels& matmul_scalar() noexcept {
  static constexpr MatmulKernels kKernels{quantize_rows, matmul};
  return kKernels;
}

}  // namespace gritstone
