// The router's product in deterministic mode: f32 throughout, because a rounding may change which experts a token gets, and the same sums
// whatever the number of rows. Plain: cuBLAS serves where the bits may depend on the shape.
#include "model/kernels/cuda/device.h"
#include "model/kernels/cuda/ops.h"
#include "model/kernels/cuda/warp.cuh"

namespace gritstone::cuda {
namespace {

constexpr int kRows = 32, kOutputs = 64, kDepth = 32;
constexpr int kThreads = 256;

// A block: kRows rows of x by kOutputs rows of w; a thread: 2 rows by 4 outputs, sums over columns in ascending order.
__global__ void __launch_bounds__(kThreads)
    linear_f32_kernel(const float* w, const float* x, std::uint32_t rows, std::uint32_t outputs, std::uint32_t cols, float* y) {
  // One column of padding keeps the transposing stores off a single bank.
  __shared__ float xs[kDepth][kRows + 1];
  __shared__ float ws[kDepth][kOutputs + 1];
  const std::uint32_t row0 = blockIdx.x * kRows, output0 = blockIdx.y * kOutputs;
  const int row = static_cast<int>(threadIdx.x) / 16 * 2, output = static_cast<int>(threadIdx.x) % 16;
  float sums[2][4] = {};
  for (std::uint32_t begin = 0; begin < cols; begin += kDepth) {
    for (int i = static_cast<int>(threadIdx.x); i < kRows * kDepth; i += kThreads) {
      const int r = i / kDepth, c = i % kDepth;
      xs[c][r] = row0 + r < rows && begin + c < cols ? x[static_cast<std::size_t>(row0 + r) * cols + begin + c] : 0.0f;
    }
    for (int i = static_cast<int>(threadIdx.x); i < kOutputs * kDepth; i += kThreads) {
      const int r = i / kDepth, c = i % kDepth;
      ws[c][r] = output0 + r < outputs && begin + c < cols ? w[static_cast<std::size_t>(output0 + r) * cols + begin + c] : 0.0f;
    }
    __syncthreads();
#pragma unroll 8
    for (int c = 0; c < kDepth; ++c) {
      for (int i = 0; i < 2; ++i) {
        for (int j = 0; j < 4; ++j) sums[i][j] = fmaf(xs[c][row + i], ws[c][output + 16 * j], sums[i][j]);
      }
    }
    __syncthreads();
  }
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 4; ++j) {
      const std::uint32_t r = row0 + row + i, o = output0 + output + 16 * j;
      if (r < rows && o < outputs) y[static_cast<std::size_t>(r) * outputs + o] = sums[i][j];
    }
  }
}

}  // namespace

void linear_f32(Stream stream, const DeviceMatrix& w, const float* x, std::uint32_t rows, float* y) {
  GS_CHECK(w.format == WeightFormat::kF32 && w.experts == 1);
  const dim3 grid(static_cast<unsigned>(ceil_div(rows, kRows)), static_cast<unsigned>(ceil_div(w.rows, kOutputs)));
  launch(linear_f32_kernel, grid, dim3(kThreads), 0, stream, static_cast<const float*>(w.values), x, rows, w.rows, w.cols, y);
}

}  // namespace gritstone::cuda
