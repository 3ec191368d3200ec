// The feed-forward of a few rows, dense or a mixture of experts. Reading the chosen experts is the cost: 67 MB of gate and up and 34 MB of
// down a row and layer of OLMoE, 22 and 11 us at 3 TB/s. A block does one row of x; rows that share an expert each read it, mostly from
// the second-level cache.
#include "model/kernels/cuda/ops.h"
#include "model/kernels/cuda/vec_stage.cuh"
#include "model/kernels/cuda/vec_stream.cuh"

namespace gritstone::cuda {
namespace {

constexpr std::uint32_t kMaxExperts = 256, kMaxUsed = 32;
constexpr int kPerLane = kMaxExperts / kWarp;
// Gate and up: two blocks fit a multiprocessor, with room for a third, the next kernel's. Down has more of x (h of every choice) to stage,
// so it has one large block.
constexpr std::uint32_t kGateUpThreads = 256, kGateUpResident = 2, kDownThreads = 512;

struct GateUpArguments {
  const void* values;
  const __half2* pairs;
  std::uint32_t group, experts, rows_of_expert, units_of_expert;
  const float* x;
  const float* norm;
  float eps;
  VecRouting routing;
  float* h;
};

// A warp's part of the router, as route.cu does it: expert e belongs to lane e % 32.
struct RouterLane {
  float value[kPerLane];

  __device__ void load(const float* logits, std::uint32_t experts) {
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) {
      const std::uint32_t expert = threadIdx.x % kWarp + kWarp * i;
      value[i] = expert < experts ? logits[expert] : -INFINITY;
    }
  }
  __device__ void softmax(std::uint32_t experts, float* probabilities) {
    float top = -INFINITY;
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) top = fmaxf(top, value[i]);
    top = warp_max(top);
    float sum = 0;
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) {
      value[i] = threadIdx.x % kWarp + kWarp * i < experts ? expf(value[i] - top) : 0.0f;
      sum += value[i];
    }
    sum = warp_sum(sum);
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) {
      const std::uint32_t expert = threadIdx.x % kWarp + kWarp * i;
      if (expert < experts) probabilities[expert] = value[i] / sum;
    }
  }
};

// The place of this thread's expert among all by probability: probabilities order like their bits, and every expert gets a place of its own
// whatever they are.
__device__ std::uint32_t rank_of(std::uint32_t expert, const float* probabilities, std::uint32_t experts) {
  const auto key = [](float p) { return __float_as_uint(p) & 0x7FFFFFFFu; };
  const std::uint32_t own = key(probabilities[expert]);
  std::uint32_t rank = 0;
#pragma unroll 8
  for (std::uint32_t other = 0; other < experts; ++other) {
    const std::uint32_t its = key(probabilities[other]);
    rank += its > own || (its == own && other < expert) ? 1 : 0;
  }
  return rank;
}

// Block (share of the units of all choices, row).
template <typename Format>
__global__ void __launch_bounds__(kGateUpThreads, kGateUpResident + 1) gate_up_kernel(const GateUpArguments a, const VecShape shape) {
  GS_DYNAMIC_SHARED(shared);
  __shared__ float probabilities[kMaxExperts];
  __shared__ std::int32_t chosen[kMaxUsed];
  __shared__ float weights[kMaxUsed];
  const std::uint32_t t = blockIdx.y, used = a.routing.used, all_units = used * a.units_of_expert;
  const std::uint32_t first = vec_first_unit(all_units, blockIdx.x), units = vec_first_unit(all_units, blockIdx.x + 1) - first;
  const std::uint32_t slices = 1u << shape.slice_bits;
  const bool routed = a.routing.logits != nullptr;
  VecStage<Format, 1> stage(shape, shared);
  let_next_start();
  stage.load_norm(a.norm);
  wait_for_previous();

  // Warp 0 is the router; the others do not wait for its logits.
  RouterLane router;
  const bool routes = threadIdx.x < kWarp && routed;
  if (routes) router.load(a.routing.logits + std::size_t{t} * a.experts, a.experts);
  const auto source = [&](std::uint32_t) { return a.x + std::size_t{t} * shape.cols; };
  stage.begin(a.norm != nullptr, source);
  if (routes) router.softmax(a.experts, probabilities);
  __syncthreads();
  if (!routed) {
    if (threadIdx.x == 0) {
      chosen[0] = 0;
      weights[0] = 1;
    }
  } else if (threadIdx.x < a.experts) {
    const std::uint32_t rank = rank_of(threadIdx.x, probabilities, a.experts);
    if (rank < used) {
      chosen[rank] = static_cast<std::int32_t>(threadIdx.x);
      weights[rank] = probabilities[threadIdx.x];
    }
  }
  __syncthreads();

  const auto locate = [&](std::uint32_t i) {
    VecTask task;
    const std::uint32_t own = i >> shape.slice_bits, slice = i & (slices - 1);
    const std::uint32_t unit = first + own, j = unit / a.units_of_expert;
    const std::uint32_t expert_row = static_cast<std::uint32_t>(chosen[j]) * a.rows_of_expert;
    task.row = expert_row + (unit - j * a.units_of_expert) * kVecOut;
    task.last_row = expert_row + a.rows_of_expert - 1;
    task.take_slice(slice, shape);
    task.sums = slice * shape.outs + own * kVecOut;
    return task;
  };
  VecStream<Format, 1, decltype(locate)> stream(shape, a.values, a.pairs, a.group, units * slices, locate);
  stream.start();
  stage.finish(a.norm != nullptr, a.eps, source);
  if (blockIdx.x == 0) {
    if (threadIdx.x < used) {
      float sum = 1;
      if (routed && a.routing.normalise) {
        sum = 0;
        for (std::uint32_t j = 0; j < used; ++j) sum += weights[j];
      }
      a.routing.chosen[t * used + threadIdx.x] = chosen[threadIdx.x];
      a.routing.weights[t * used + threadIdx.x] = weights[threadIdx.x] / sum;
    }
    if (routed && a.routing.probabilities != nullptr && threadIdx.x < a.experts) {
      a.routing.probabilities[t * a.experts + threadIdx.x] = probabilities[threadIdx.x];
    }
  }
  __syncthreads();
  float* sums = reinterpret_cast<float*>(shared + shape.sums);
  stream.run(stage.staged(), sums);
  __syncthreads();

  for (std::uint32_t i = threadIdx.x; i < units * (kVecOut / 2); i += blockDim.x) {
    const std::uint32_t unit = first + i / (kVecOut / 2), j = unit / a.units_of_expert;
    const std::uint32_t row = (unit - j * a.units_of_expert) * kVecOut + i % (kVecOut / 2) * 2;
    float gate = 0, up = 0;
    for (std::uint32_t slice = 0; slice < slices; ++slice) {
      gate += sums[slice * shape.outs + 2 * i];
      up += sums[slice * shape.outs + 2 * i + 1];
    }
    if (row < a.rows_of_expert) {
      a.h[(std::size_t{t} * used + j) * (a.rows_of_expert / 2) + row / 2] = gate / (1.0f + expf(-gate)) * up;
    }
  }
}

struct DownArguments {
  const void* values;
  const __half2* pairs;
  std::uint32_t group, outputs, units;
  const float* h;
  const std::int32_t* chosen;
  const float* weights;
  std::uint32_t used;
  float* x;
};

// Block (share of the outputs, row). The slices of a unit are those of the first choice's expert, then of the second's ...
template <typename Format>
__global__ void __launch_bounds__(kDownThreads, 1) down_kernel(const DownArguments a, const VecShape shape) {
  GS_DYNAMIC_SHARED(shared);
  const std::uint32_t t = blockIdx.y, parts = 1u << shape.slice_bits, slices = a.used * parts;
  const std::uint32_t first = vec_first_unit(a.units, blockIdx.x), units = vec_first_unit(a.units, blockIdx.x + 1) - first;
  let_next_start();
  wait_for_previous();

  const auto locate = [&](std::uint32_t i) {
    VecTask task;
    const std::uint32_t unit = i / slices, slice = i - unit * slices;
    task.x_row = slice >> shape.slice_bits;
    const std::uint32_t expert_row = static_cast<std::uint32_t>(a.chosen[t * a.used + task.x_row]) * a.outputs;
    task.row = expert_row + (first + unit) * kVecOut;
    task.last_row = expert_row + a.outputs - 1;
    task.take_slice(slice & (parts - 1), shape);
    task.sums = slice * shape.outs + unit * kVecOut;
    return task;
  };
  VecStream<Format, 1, decltype(locate)> stream(shape, a.values, a.pairs, a.group, units * slices, locate);
  stream.start();
  float* x = a.x + std::size_t{t} * a.outputs + first * kVecOut;
  const std::uint32_t outputs = min(units * kVecOut, a.outputs - first * kVecOut);
  const float old = threadIdx.x < outputs ? x[threadIdx.x] : 0.0f;  // early, for its latency
  VecStage<Format, 0> stage(shape, shared);
  stage.finish(false, 0, [&](std::uint32_t j) { return a.h + (std::size_t{t} * a.used + j) * shape.cols; });
  __syncthreads();
  float* sums = reinterpret_cast<float*>(shared + shape.sums);
  stream.run(stage.staged(), sums);
  __syncthreads();
  for (std::uint32_t i = threadIdx.x; i < outputs; i += blockDim.x) {
    float all = 0;
    for (std::uint32_t j = 0; j < a.used; ++j) {
      float sum = 0;
      for (std::uint32_t part = 0; part < parts; ++part) sum += sums[(j * parts + part) * shape.outs + i];
      all = fmaf(a.weights[t * a.used + j], sum, all);
    }
    x[i] = (i == threadIdx.x ? old : x[i]) + all;
  }
}

}  // namespace

void vec_experts_gate_up(Stream stream, const DeviceMatrix& gate_up, const float* x, const float* norm_weight, float eps,
                         std::uint32_t rows, const VecRouting& routing, float* h) {
  GS_CHECK(rows <= kVecRows && gate_up.rows % 2 == 0 && routing.used >= 1 && routing.used <= kMaxUsed);
  GS_CHECK(routing.logits != nullptr ? gate_up.experts <= kMaxExperts && routing.used <= gate_up.experts : routing.used == 1);
  if (rows == 0) return;
  const std::uint32_t units_of_expert = static_cast<std::uint32_t>(ceil_div(gate_up.rows, kVecOut));
  const GateUpArguments a{
      gate_up.values, gate_up.pairs, gate_up.group, gate_up.experts, gate_up.rows, units_of_expert, x, norm_weight, eps, routing, h};
  vec_dispatch(gate_up, [&](auto format) {
    using Format = decltype(format);
    const std::size_t slices = std::size_t{1} << vec_slice_bits<Format>(gate_up.cols);
    const std::size_t units = std::size_t{routing.used} * units_of_expert;
    const std::uint32_t blocks = vec_blocks(units, vec_processors() * kGateUpResident / rows, slices);
    const VecShape shape = vec_shape<Format>(gate_up.cols, 1, norm_weight != nullptr, ceil_div(units, blocks), slices);
    launch_overlapped(gate_up_kernel<Format>, dim3(blocks, rows), dim3(kGateUpThreads), shape.bytes, stream, a, shape);
  });
}

void vec_experts_down(Stream stream, const DeviceMatrix& down, const float* h, const std::int32_t* chosen, const float* weights,
                      std::uint32_t used, std::uint32_t rows, float* x) {
  GS_CHECK(rows <= kVecRows && used >= 1 && used <= kMaxUsed);
  if (rows == 0) return;
  const std::uint32_t units = static_cast<std::uint32_t>(ceil_div(down.rows, kVecOut));
  const DownArguments a{down.values, down.pairs, down.group, down.rows, units, h, chosen, weights, used, x};
  vec_dispatch(down, [&](auto format) {
    using Format = decltype(format);
    const std::size_t sums = std::size_t{used} << vec_slice_bits<Format>(down.cols);
    const std::uint32_t blocks = vec_blocks(units, vec_processors() / rows, sums);
    const VecShape shape = vec_shape<Format>(down.cols, used, false, ceil_div(units, blocks), sums);
    launch_overlapped(down_kernel<Format>, dim3(blocks, rows), dim3(kDownThreads), shape.bytes, stream, a, shape);
  });
}

}  // namespace gritstone::cuda
