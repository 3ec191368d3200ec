#include "model/kernels/matmul_tiles.h"

#include <algorithm>
#include <bit>

namespace gritstone::panel {
namespace {

std::size_t row_of(const MatmulTask& task, std::size_t token) noexcept { return task.x_rows != nullptr ? task.x_rows[token] : token; }

void fill_terms(const MatmulTask& task, const Format& format, std::size_t first, std::size_t tokens, bool with_zero_point,
                float* out) noexcept {
  const Activations& x = *task.x;
  const std::size_t groups = x.cols / kActivationGroup;
  const std::size_t terms = terms_per_group(format);
  const int zero_point = with_zero_point ? format.zero_point : 0;
  for (std::size_t t = 0; t < tokens; ++t) {
    const std::size_t row = row_of(task, first + t);
    const float* scale = x.scale + row * groups;
    const std::int32_t* sums = x.sum + row * groups * 2;
    float* at = out + t;
    for (std::size_t g = 0; g < groups; ++g, at += terms * tokens) {
      const auto term = [&](std::int32_t sum) {
        return format.affine ? scale[g] * static_cast<float>(sum) : std::bit_cast<float>(-zero_point * sum);
      };
      at[0] = scale[g];
      if (terms == 2) {
        at[tokens] = term(sums[2 * g] + sums[2 * g + 1]);
      } else {
        at[tokens] = term(sums[2 * g]);
        at[2 * tokens] = term(sums[2 * g + 1]);
      }
    }
  }
}

// How far ahead of the planes in use the next lines are fetched, into L2: the hardware's prefetchers stop at every 4 KiB page, and L1 has
// too few misses in flight for the memory's latency. One tile: kAhead, the scale region of the next panel lies between. Several: the last
// one brings in the next panel.
constexpr std::size_t kAhead = 16 * 1024;
std::size_t prefetch_distance(const Format& format, std::size_t cols, bool first, bool last) noexcept {
  const std::size_t scales = format.scale_region(cols);
  if (first && last) return scales + kAhead;
  return last ? format.panel_bytes(cols) - scales : 0;
}

}  // namespace

void run_tiles(const MatmulTask& task, const Format& format, const TileKernel* kernels, std::size_t max_tile,
               bool with_zero_point) noexcept {
  const Matrix& w = *task.w;
  const std::size_t per_token = w.cols / 32 * terms_per_group(format);
  const std::size_t fitting = kMatmulScratch / per_token;
  if (fitting == 0) return matmul_scalar().matmul(task);  // beyond 174,000 columns; no model has them, the result is the same
  // Tiles of equal size: 9 tokens cost less as 5 + 4 than as 8 + 1, where the last unpacks the weights for one token.
  const std::size_t largest = std::min(max_tile, fitting);
  const std::size_t tiles = std::max<std::size_t>(1, (task.tokens + largest - 1) / largest);
  const std::size_t tile = std::max<std::size_t>(1, (task.tokens + tiles - 1) / tiles);
  const std::size_t token_block = fitting / tile * tile;
  const std::size_t bytes = format.panel_bytes(w.cols);
  for (std::size_t block = 0; block < task.tokens; block += token_block) {
    const std::size_t block_end = std::min(block + token_block, task.tokens);
    for (std::size_t t = block; t < block_end; t += tile) {
      fill_terms(task, format, t, std::min(tile, block_end - t), with_zero_point, task.scratch + (t - block) * per_token);
    }
    for (std::size_t p = task.panel_begin; p < task.panel_end; ++p) {
      Tile args{};
      args.panel = w.data + p * bytes;
      args.cols = w.cols;
      args.y_stride = task.y_stride;
      args.lanes = std::min(kPanelRows, w.rows - p * kPanelRows);
      for (std::size_t t = block; t < block_end; t += tile) {
        const std::size_t tokens = std::min(tile, block_end - t);
        for (std::size_t i = 0; i < tokens; ++i) args.q[i] = task.x->q + row_of(task, t + i) * w.cols;
        args.terms = task.scratch + (t - block) * per_token;
        args.prefetch = prefetch_distance(format, w.cols, t == block, t + tile >= block_end);
        args.y = task.y + t * task.y_stride + p * kPanelRows;
        kernels[tokens - 1](args);
      }
    }
  }
}

}  // namespace gritstone::panel
