// Rows of the embedding table as f32: a gather. The output's bytes are the cost (64 MiB at 8,192 rows of 2,048).
#include <algorithm>

#include "model/kernels/cuda/device.h"
#include "model/kernels/cuda/ops.h"
#include "model/kernels/cuda/warp.cuh"

namespace gritstone::cuda {
namespace {

constexpr std::uint32_t kColumns = 8;  // of a thread at a time

// Columns [column, column + 8) of a row. A group of 16 or 32 columns never ends inside.
template <WeightFormat kFormat>
__device__ void read_columns(const void* values, const __half2* pairs, std::uint32_t group, std::uint32_t cols, std::uint32_t row,
                             std::uint32_t column, float (&x)[kColumns]) {
  const std::size_t at = static_cast<std::size_t>(row) * cols + column;
  if constexpr (kFormat == WeightFormat::kF32) {
    const float4* from = reinterpret_cast<const float4*>(static_cast<const float*>(values) + at);
    const float4 a = from[0], b = from[1];
    const float all[kColumns] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
#pragma unroll
    for (std::uint32_t i = 0; i < kColumns; ++i) x[i] = all[i];
  } else if constexpr (kFormat == WeightFormat::kBF16) {
    const uint4 words = *reinterpret_cast<const uint4*>(static_cast<const bf16*>(values) + at);
    const std::uint32_t w[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      x[2 * i] = bf16_low(w[i]);
      x[2 * i + 1] = bf16_high(w[i]);
    }
  } else {
    const __half2 pair = pairs[at / group];
    const float scale = __low2float(pair), min = __high2float(pair);
    constexpr bool kNibbles = kFormat == WeightFormat::kInt4;
    // Sixteen columns in the low nibbles of 16 bytes, the next sixteen in the high ones.
    const std::size_t byte = kNibbles ? at / 32 * 16 + at % 16 : at;
    const int shift = at % 32 < 16 ? 0 : 4;
    const uint2 words = *reinterpret_cast<const uint2*>(static_cast<const std::uint8_t*>(values) + byte);
#pragma unroll
    for (std::uint32_t i = 0; i < kColumns; ++i) {
      const std::uint32_t code = (i < 4 ? words.x : words.y) >> (8 * (i % 4)) & 0xFFu;
      const int value = kNibbles ? static_cast<int>(code >> shift & 15u) : static_cast<int>(static_cast<std::int8_t>(code));
      x[i] = fmaf(scale, static_cast<float>(value), min);
    }
  }
}

// A block: one row.
template <WeightFormat kFormat>
__global__ void embed_rows_kernel(const void* values, const __half2* pairs, std::uint32_t group, std::uint32_t cols,
                                  const std::int32_t* token, float* x) {
  const std::uint32_t row = static_cast<std::uint32_t>(token[blockIdx.x]);
  float* out = x + static_cast<std::size_t>(blockIdx.x) * cols;
  for (std::uint32_t column = kColumns * threadIdx.x; column < cols; column += kColumns * blockDim.x) {
    float v[kColumns];
    read_columns<kFormat>(values, pairs, group, cols, row, column, v);
    float4* to = reinterpret_cast<float4*>(out + column);
    to[0] = make_float4(v[0], v[1], v[2], v[3]);
    to[1] = make_float4(v[4], v[5], v[6], v[7]);
  }
}

}  // namespace

void embed_rows(Stream stream, const DeviceMatrix& table, const std::int32_t* token, std::uint32_t rows, float* x) {
  GS_CHECK(table.cols % kColumns == 0 && table.experts == 1);
  if (rows == 0) return;
  const std::size_t threads = std::min<std::size_t>(256, ceil_div(table.cols, kColumns * kWarp) * kWarp);
  const auto run = [&](auto kernel) {
    launch(kernel, dim3(rows), dim3(static_cast<unsigned>(threads)), 0, stream, table.values, table.pairs, table.group, table.cols, token,
           x);
  };
  switch (table.format) {
    case WeightFormat::kF32:
      return run(embed_rows_kernel<WeightFormat::kF32>);
    case WeightFormat::kBF16:
      return run(embed_rows_kernel<WeightFormat::kBF16>);
    case WeightFormat::kInt4:
      return run(embed_rows_kernel<WeightFormat::kInt4>);
    case WeightFormat::kInt8:
      return run(embed_rows_kernel<WeightFormat::kInt8>);
  }
}

}  // namespace gritstone::cuda
