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
  std::uint32_t norm = 0;        // the norm's weights,
  std::uint32_t raw = 0;         // integer formats: x before it is rounded; both end where the sums begin to come,
  std::uint32_t sums = 0;        // in the same place: [all slices][rows][outs]
  std::uint32_t bytes = 0;
};

// At most this much shared memory: what an A100 has for a block.
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

struct VecDevice {
  std::uint32_t processors = 1;
  bool overlap = false;  // a kernel may begin before the one before it has ended
};
inline const VecDevice& vec_device() {
  static const VecDevice device = [] {
    int id = 0;
    cudaDeviceProp properties;
    check(cudaGetDevice(&id), "the current device");
    check(cudaGetDeviceProperties(&properties, id), "properties of the device");
    return VecDevice{static_cast<std::uint32_t>(properties.multiProcessorCount), properties.major >= 9};
  }();
  return device;
}

// Blocks for `units` so that all are resident at once and none has more sums than fit; a multiple of `resident` where that is too few.
inline std::uint32_t vec_blocks(std::size_t units, std::size_t resident, std::size_t sums_per_out) {
  resident = std::clamp<std::size_t>(resident, 1, units);
  const std::size_t most = std::max<std::size_t>(1, kVecSums / (sums_per_out * kVecOut * sizeof(float)));
  const std::size_t blocks = std::min(units, resident * ceil_div(units, resident * most));
  GS_CHECK(units * (blocks + 1) <= UINT32_MAX);  // what first_unit() multiplies
  return static_cast<std::uint32_t>(blocks);
}

// As launch(), but the kernel may start while the one before it still runs (programmatic dependent launch): it must call vec_wait() before
// it reads or writes anything a kernel writes.
template <typename... Parameters, typename... Arguments>
void vec_launch(void (*kernel)(Parameters...), dim3 grid, std::uint32_t threads, std::size_t shared, cudaStream_t stream,
                Arguments&&... arguments) {
  GS_CHECK(shared <= kVecShared);
  if (shared > (std::size_t{48} << 10)) allow_shared_memory(kernel, shared);
  cudaLaunchAttribute attribute;
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = dim3(threads);
  config.dynamicSmemBytes = shared;
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = vec_device().overlap ? 1 : 0;
  check(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(std::forward<Arguments>(arguments))...), "launch of a kernel");
}

}  // namespace gritstone::cuda
