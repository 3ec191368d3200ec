// The router of a mixture of experts: softmax and choice. A warp takes a row, so a batch is a few microseconds of shuffles.
#include "model/kernels/cuda/device.h"
#include "model/kernels/cuda/ops.h"
#include "model/kernels/cuda/route_choice.cuh"
#include "model/kernels/cuda/warp.cuh"

namespace gritstone::cuda {
namespace {

constexpr int kPerLane = kMostExperts / kWarp;  // expert e belongs to lane e % 32
constexpr int kRowsPerBlock = 4;

__global__ void __launch_bounds__(kRowsPerBlock* kWarp)
    route_kernel(float* logits, std::uint32_t rows, std::uint32_t experts, std::uint32_t used, bool normalise, std::int32_t* chosen,
                 float* weights) {
  const std::uint32_t lane = threadIdx.x % kWarp, row = blockIdx.x * kRowsPerBlock + threadIdx.x / kWarp;
  if (row >= rows) return;
  float* p = logits + static_cast<std::size_t>(row) * experts;
  float value[kPerLane];
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) value[i] = lane + kWarp * i < experts ? p[lane + kWarp * i] : 0.0f;
  const std::size_t choice = static_cast<std::size_t>(row) * used;
  choose_experts(value, experts, used, normalise, p, chosen + choice, weights + choice);
}

}  // namespace

void route(Stream stream, float* logits, std::uint32_t rows, std::uint32_t experts, std::uint32_t used, bool normalise,
           std::int32_t* chosen, float* weights) {
  GS_CHECK(experts <= kMostExperts && used <= kMostUsed && used <= experts);
  if (rows == 0) return;
  launch(route_kernel, dim3(static_cast<unsigned>(ceil_div(rows, kRowsPerBlock))), dim3(kRowsPerBlock * kWarp), 0, stream, logits, rows,
         experts, used, normalise, chosen, weights);
}

}  // namespace gritstone::cuda
