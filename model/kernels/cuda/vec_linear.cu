// Products for a few rows of x. Reading W once is the cost: 25 MB for OLMoE's QKV, 206 MB for its output layer, 8 and 69 us at 3 TB/s. With
// 8 rows bf16 needs half of the multiply-adds that the chip has.
#include <algorithm>

#include "model/kernels/cuda/ops.h"
#include "model/kernels/cuda/vec_stage.cuh"
#include "model/kernels/cuda/vec_stream.cuh"

namespace gritstone::cuda {
namespace {

struct Arguments {
  const void* values;
  const __half2* pairs;
  std::uint32_t group, outputs, units;
  const float* x;
  const std::int32_t* index;
  const float* norm;
  float eps;
  std::uint32_t rows;
  float* y;
  bool add;
};

// One row: two blocks are on a multiprocessor, with room for a third, the next kernel's. More rows need the registers.
template <int kRows>
inline constexpr std::uint32_t kThreads = kRows <= 2 ? 256 : 384;
template <int kRows>
inline constexpr std::uint32_t kResident = kRows <= 2 ? 2 : 1;
template <int kRows>
inline constexpr std::uint32_t kFit = kRows == 1 ? 3 : kResident<kRows>;

template <typename Format, int kRows>
__global__ void __launch_bounds__(kThreads<kRows>, kFit<kRows>) vec_linear_kernel(const Arguments a, const VecShape shape) {
  GS_DYNAMIC_SHARED(shared);
  const std::uint32_t first = vec_first_unit(a.units, blockIdx.x), units = vec_first_unit(a.units, blockIdx.x + 1) - first;
  const std::uint32_t slices = 1u << shape.slice_bits;
  const auto locate = [&](std::uint32_t i) {
    VecTask task;
    const std::uint32_t unit = i >> shape.slice_bits, slice = i & (slices - 1);
    task.row = (first + unit) * kVecOut;
    task.last_row = a.outputs - 1;
    task.take_slice(slice, shape);
    task.sums = slice * kRows * shape.outs + unit * kVecOut;
    return task;
  };
  VecStream<Format, kRows, decltype(locate)> stream(shape, a.values, a.pairs, a.group, units * slices, locate);
  VecStage<Format, kRows> stage(shape, shared);
  let_next_start();
  stream.start();
  stage.load_norm(a.norm);
  wait_for_previous();

  const std::uint32_t outputs = min(units * kVecOut, a.outputs - first * kVecOut), sums_count = outputs * a.rows;
  const auto y_of = [&](std::uint32_t i) {
    return a.y + static_cast<std::size_t>(i / outputs) * a.outputs + first * kVecOut + i % outputs;
  };
  const float old = a.add && threadIdx.x < sums_count ? *y_of(threadIdx.x) : 0.0f;  // early, for its latency
  const auto source = [&](std::uint32_t r) -> const float* {
    if (r >= a.rows) return nullptr;
    return a.x + (a.index == nullptr ? r : static_cast<std::size_t>(a.index[r])) * shape.cols;
  };
  stage.begin(a.norm != nullptr, source);
  __syncthreads();
  stage.finish(a.norm != nullptr, a.eps, source);
  __syncthreads();
  float* sums = reinterpret_cast<float*>(shared + shape.sums);
  stream.run(stage.staged(), sums);
  __syncthreads();
  for (std::uint32_t i = threadIdx.x; i < sums_count; i += blockDim.x) {
    float sum = 0;
    for (std::uint32_t slice = 0; slice < slices; ++slice) sum += sums[(slice * kRows + i / outputs) * shape.outs + i % outputs];
    float* y = y_of(i);
    *y = a.add ? (i == threadIdx.x ? old : *y) + sum : sum;
  }
}

// Queues the product for as many of the rows as there are, at most kRows, or as fit; returns how many.
template <typename Format, int kRows>
std::uint32_t some_rows(Stream stream, const DeviceMatrix& w, Arguments a) {
  const std::size_t sums = std::size_t{kRows} << vec_slice_bits<Format>(w.cols);
  const std::uint32_t blocks = vec_blocks(a.units, vec_processors() * kResident<kRows>, sums);
  const VecShape shape = vec_shape<Format>(w.cols, kRows, a.norm != nullptr, ceil_div(a.units, blocks), sums);
  if constexpr (kRows > 1) {
    if (a.rows <= kRows / 2 || shape.bytes > kVecShared) return some_rows<Format, kRows / 2>(stream, w, a);
  }
  a.rows = std::min<std::uint32_t>(a.rows, kRows);
  launch_overlapped(vec_linear_kernel<Format, kRows>, dim3(blocks), dim3(kThreads<kRows>), shape.bytes, stream, a, shape);
  return a.rows;
}

template <typename Format>
void all_rows(Stream stream, const DeviceMatrix& w, Arguments a) {
  while (a.rows > 0) {
    const std::uint32_t done = some_rows<Format, kVecRows>(stream, w, a);
    a.rows -= done;
    if (a.index != nullptr) {
      a.index += done;
    } else {
      a.x += std::size_t{done} * w.cols;
    }
    a.y += std::size_t{done} * a.outputs;
  }
}

}  // namespace

void vec_linear(Stream stream, const DeviceMatrix& w, const float* x, const std::int32_t* index, const float* norm_weight, float eps,
                std::uint32_t rows, float* y, bool add) {
  GS_CHECK(rows <= kVecRows && w.experts == 1);
  if (rows == 0 || w.rows == 0) return;
  const Arguments a{w.values, w.pairs, w.group, w.rows, static_cast<std::uint32_t>(ceil_div(w.rows, kVecOut)), x, index, norm_weight,
                    eps,      rows,    y,       add};
  vec_dispatch(w, [&](auto format) { all_rows<decltype(format)>(stream, w, a); });
}

}  // namespace gritstone::cuda
