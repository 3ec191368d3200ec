// The loops around a panel kernel, the same for every ISA: token blocks whose scales fit the scratch, then panels, then tiles of tokens.
#pragma once

#include <cstddef>
#include <cstdint>

#include "model/kernels/matmul.h"
#include "model/kernels/matmul_panel.h"

namespace gritstone::panel {

inline constexpr std::size_t kMaxTile = 8;  // tokens a tile multiplies with one unpacking of the weights

// One panel times T tokens: y[t * y_stride + lane] for lane < lanes.
struct Tile {
  const std::uint8_t* panel;
  std::size_t cols;
  const std::int8_t* q[kMaxTile];  // [cols] each
  const float* terms;              // [cols / 32][terms_per_group()][T], below
  std::size_t prefetch;            // fetch the cache lines this many bytes beyond the planes in use
  float* y;
  std::size_t y_stride;
  std::size_t lanes;
};

// What a tile needs of each token and 32 columns beside q, laid out in the order it is read (token fastest, so that one pointer serves T
// tokens): the scale a, then for each group in them
//   symmetric: -zero_point * sum(q), an int32 (bits kept in a float)
//   affine:    a * float(sum(q))
constexpr std::size_t terms_per_group(const Format& format) { return format.group == 32 ? 2 : 3; }

using TileKernel = void (*)(const Tile& tile) noexcept;

// kernels[t - 1] handles t tokens. `with_zero_point`: whether the kernel's dot products are of unsigned codes (otherwise their integers
// already are signed, and the symmetric terms are 0).
void run_tiles(const MatmulTask& task, const Format& format, const TileKernel* kernels, std::size_t max_tile,
               bool with_zero_point) noexcept;

}  // namespace gritstone::panel
