// What the copy engine must know of a matrix (cluster.cuh).
#pragma once

#include <cuda.h>

#include <cstdint>

namespace gritstone::cuda {

// Two-byte values [rows, cols] in device memory, read in boxes of 64 columns and `box_rows` (at most 256) rows. Values start at a multiple
// of 16 bytes; cols is a multiple of 8. Throws Error(kDevice) if the driver refuses.
CUtensorMap tensor_map(const void* values, std::uint64_t rows, std::uint32_t cols, std::uint32_t box_rows);

}  // namespace gritstone::cuda
