// How the vec ops cut a product W x for a few rows of x. What they cost is reading W, so all is arranged for many independent 16-byte
// loads.
//
// A warp's task is kVecOut rows of W by a slice of the columns. A lane's chunk is 16 bytes of a row; 32 chunks are a step. Slices are about
// kVecSteps steps, so a task of a wide matrix is one batch of kVecOut * kVecSteps loads per lane. A block takes a range of units (kVecOut
// rows of W each) in all their slices and adds the slices up at its end, in order: how an output is summed depends on the number of columns
// alone, not on the rows of x or the grid.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "base/error.h"
#include "model/kernels/cuda/device.h"
#include "model/kernels/cuda/warp.cuh"

namespace gritstone::cuda {

inline constexpr std::uint32_t kVecOut = 4;
inline constexpr std::uint32_t kVecSteps = 2;
inline constexpr std::uint32_t kVecSpan = 128;  // columns of x that a warp stages at once, four a lane

// Sizes that follow from a matrix, and where a block keeps what in its dynamic shared memory (in bytes).
struct VecShape {
  std::uint32_t cols = 0;
  std::uint32_t chunks = 0;  // of a row
  std::uint32_t steps = 0;
  std::uint32_t slice_bits = 0;  // 2^slice_bits slices
  std::uint32_t x_rows = 0;      // staged, each padded with zeros to whole steps
  std::uint32_t spans = 0;       // of a staged row
  std::uint32_t outs = 0;        // at most, of a block
  std::uint32_t scales = 0;      // after x itself: integer formats' scales and sums
  std::uint32_t squares = 0;     // [x_rows][spans] sums of squares
  std::uint32_t norm = 0;        // the norm's weights
  std::uint32_t raw = 0;         // integer formats: x before it is rounded
  std::uint32_t sums = 0;        // take the place of both once x is staged: [all slices][rows][outs]
  std::uint32_t bytes = 0;
};

// At most this much shared memory, which an A100 and an H100 have for a block, and of it for sums.
inline constexpr std::size_t kVecShared = std::size_t{160} << 10;
inline constexpr std::size_t kVecSums = std::size_t{64} << 10;

template <typename Format>
std::uint32_t vec_slice_bits(std::uint32_t cols) {
  const std::size_t steps = ceil_div(cols / Format::kCols, kWarp);
  return std::min(3u, static_cast<std::uint32_t>(std::bit_width(ceil_div(steps, kVecSteps) - 1)));
}

// units: of a block, at most; sums_per_out: in all slices and rows.
template <typename Format>
VecShape vec_shape(std::uint32_t cols, std::uint32_t x_rows, bool norm, std::size_t units, std::size_t sums_per_out) {
  VecShape s;
  const auto u32 = [](std::size_t n) { return static_cast<std::uint32_t>(n); };
  s.cols = cols;
  s.chunks = cols / Format::kCols;
  s.steps = u32(ceil_div(s.chunks, kWarp));
  s.slice_bits = vec_slice_bits<Format>(cols);
  s.x_rows = x_rows;
  s.spans = s.steps * kWarp * Format::kCols / kVecSpan;
  s.outs = u32(units * kVecOut);
  s.scales = s.steps * kWarp * 16 * Format::kPlanes * x_rows;
  s.squares = s.scales + s.steps * kWarp * u32(sizeof(float2)) * Format::kScales * x_rows;
  s.norm = s.sums = s.squares + u32(ceil_div(x_rows * s.spans * sizeof(float), 16) * 16);
  s.raw = s.norm + (norm ? cols * u32(sizeof(float)) : 0);
  const std::size_t raw_end = s.raw + (norm && Format::kScales > 0 ? std::size_t{x_rows} * s.spans * kVecSpan * sizeof(float) : 0);
  s.bytes = u32(std::max(raw_end, s.sums + sums_per_out * s.outs * sizeof(float)));
  return s;
}

inline std::size_t vec_processors() { return static_cast<std::size_t>(device_properties().multiProcessorCount); }

// Blocks for `units`: `resident`, which are on the chip at once, or a multiple of it if their sums would not fit.
inline std::uint32_t vec_blocks(std::size_t units, std::size_t resident, std::size_t sums_per_out) {
  resident = std::clamp<std::size_t>(resident, 1, units);
  const std::size_t most = std::max<std::size_t>(1, kVecSums / (sums_per_out * kVecOut * sizeof(float)));
  const std::size_t blocks = std::min(units, resident * ceil_div(units, resident * most));
  GS_CHECK(units * (blocks + 1) <= UINT32_MAX);  // what vec_first_unit() multiplies
  return static_cast<std::uint32_t>(blocks);
}

}  // namespace gritstone::cuda
