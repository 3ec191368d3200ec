// Rows of a matrix beside each other: what goes on where most rows of a step are done. The bytes are the cost.
#include <algorithm>

#include "model/kernels/cuda/device.h"
#include "model/kernels/cuda/ops.h"
#include "model/kernels/cuda/warp.cuh"

namespace gritstone::cuda {
namespace {

constexpr std::uint32_t kMostThreads = 256;

// A block: one row, 16 bytes a thread at a time.
__global__ void __launch_bounds__(kMostThreads)
    gather_rows_kernel(const uint4* from, const std::int32_t* index, std::uint32_t chunks, uint4* to) {
  let_next_start();
  wait_for_previous();
  const uint4* const row = from + static_cast<std::size_t>(index[blockIdx.x]) * chunks;
  for (std::uint32_t i = threadIdx.x; i < chunks; i += blockDim.x) to[static_cast<std::size_t>(blockIdx.x) * chunks + i] = row[i];
}

}  // namespace

void gather_rows(Stream stream, const void* from, const std::int32_t* index, std::uint32_t rows, std::size_t row_bytes, void* to) {
  GS_CHECK(row_bytes % sizeof(uint4) == 0);
  if (rows == 0) return;
  const std::size_t chunks = row_bytes / sizeof(uint4), threads = std::min<std::size_t>(kMostThreads, ceil_div(chunks, kWarp) * kWarp);
  launch_overlapped(gather_rows_kernel, dim3(rows), dim3(static_cast<unsigned>(threads)), 0, stream, static_cast<const uint4*>(from), index,
                    static_cast<std::uint32_t>(chunks), static_cast<uint4*>(to));
}

}  // namespace gritstone::cuda
