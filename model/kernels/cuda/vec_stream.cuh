// The loop of the vec ops: a warp goes through its tasks and keeps kVecOut * kVecSteps loads per lane under way, each register loaded again
// as soon as it has been used, across the borders of tasks. 16 warps of a multiprocessor so ask for up to 64 KB at once; at 3 TB/s and a
// latency of 0.7 us a multiprocessor has about 16 KB on the way.
#pragma once

#include <bit>

#include "model/kernels/cuda/vec_formats.cuh"

namespace gritstone::cuda {

// Sums of N values over the warp; returns that of value lane / (32 / N). Lanes add in the order of warp_sum(), but at each halving of the
// distance a lane keeps only the values of its side: N - 1 + log2(32 / N) shuffles.
template <int N>
__device__ inline float vec_scatter_sum(float (&v)[N]) {
  static_assert(N <= kWarp && (N & (N - 1)) == 0);
  const std::uint32_t lane = threadIdx.x % kWarp;
  constexpr int kLevels = std::countr_zero(static_cast<unsigned>(N));
#pragma unroll
  for (int level = 0; level < kLevels; ++level) {
    const int half = N >> (level + 1), distance = kWarp / 2 >> level;
    const bool upper = (lane & static_cast<std::uint32_t>(distance)) != 0;
#pragma unroll
    for (int i = 0; i < N / 2; ++i) {
      if (i >= half) continue;
      const float keep = upper ? v[i + half] : v[i], give = upper ? v[i] : v[i + half];
      v[i] = keep + __shfl_xor_sync(kAllLanes, give, distance);
    }
  }
#pragma unroll
  for (int distance = kWarp / 2 / N; distance > 0; distance /= 2) v[0] += __shfl_xor_sync(kAllLanes, v[0], distance);
  return v[0];
}

// The first of `units` units of a block.
__device__ inline std::uint32_t vec_first_unit(std::uint32_t units, std::uint32_t block) { return units * block / gridDim.x; }

// What a warp does at a time.
struct VecTask {
  std::uint32_t row = 0;             // the first of up to kVecOut rows of the matrix (over all experts)
  std::uint32_t last_row = 0;        // a unit's rows beyond it are this one, for nothing
  std::uint32_t x_row = 0;           // the first of kRows staged rows
  std::uint32_t begin = 0, end = 0;  // steps
  std::uint32_t sums = 0;            // where they go: + r * outs + o

  __device__ void take_slice(std::uint32_t slice, const VecShape& shape) {
    begin = shape.steps * slice >> shape.slice_bits;
    end = shape.steps * (slice + 1) >> shape.slice_bits;
  }
};

// locate(i): task i of the block.
template <typename Format, int kRows, typename Locate>
class VecStream {
 public:
  __device__ VecStream(const VecShape& shape, const void* values, const __half2* pairs, std::uint32_t group, std::uint32_t tasks,
                       const Locate& locate)
      : s_(shape), values_(static_cast<const uint4*>(values)), pairs_(pairs), group_(group), tasks_(tasks), locate_(locate) {}

  // The first loads.
  __device__ void start() {
    index_ = __shfl_sync(kAllLanes, threadIdx.x / kWarp, 0);  // known to be the same in all lanes
    if (index_ >= tasks_) return;
    task_ = locate_(index_);
#pragma unroll
    for (std::uint32_t s = 0; s < kVecSteps; ++s) {
      if (task_.begin + s < task_.end) load(s, task_, task_.begin + s);
    }
  }

  __device__ void run(const StagedX& x, float* sums) {
    const std::uint32_t lane = threadIdx.x % kWarp;
    float acc[kVecOut][kRows] = {};
    std::uint32_t step = task_.begin;
    while (index_ < tasks_) {
      VecTask next = task_;
      std::uint32_t next_step = step + kVecSteps, next_index = index_;
      const bool done = next_step >= task_.end;
      if (done) {
        next_index += blockDim.x / kWarp;
        if (next_index < tasks_) {
          next = locate_(next_index);
          next_step = next.begin;
        }
      }
#pragma unroll
      for (std::uint32_t s = 0; s < kVecSteps; ++s) {
        if (step + s < task_.end) Format::multiply(words_[s], part_[s], x, task_.x_row, (step + s) * kWarp + lane, acc);
        if (next_step + s < next.end) load(s, next, next_step + s);
      }
      if (done) {
        float all[kVecOut * kRows];
#pragma unroll
        for (std::uint32_t i = 0; i < kVecOut * kRows; ++i) {
          all[i] = acc[i / kRows][i % kRows];
          acc[i / kRows][i % kRows] = 0;
        }
        const float sum = vec_scatter_sum(all);
        constexpr std::uint32_t kShare = kWarp / (kVecOut * kRows);
        if (lane % kShare == 0) {
          const std::uint32_t o = lane / kShare / kRows, r = lane / kShare % kRows;
          sums[task_.sums + r * s_.outs + o] = sum;
        }
      }
      task_ = next;
      index_ = next_index;
      step = next_step;
    }
  }

 private:
  // Lanes beyond a row's end get its last chunk again; x is zero there.
  __device__ void load(std::uint32_t s, const VecTask& task, std::uint32_t step) {
    const std::uint32_t chunk = min(step * kWarp + threadIdx.x % kWarp, s_.chunks - 1);
#pragma unroll
    for (std::uint32_t o = 0; o < kVecOut; ++o) {
      const std::uint32_t at = min(task.row + o, task.last_row) * s_.chunks + chunk;
      words_[s][o] = load_once(values_ + at);
      part_[s][o] = Format::load_pair(pairs_, at, group_);
    }
  }

  const VecShape& s_;
  const uint4* values_;
  const __half2* pairs_;
  std::uint32_t group_, tasks_;
  const Locate& locate_;
  std::uint32_t index_ = 0;
  VecTask task_;
  uint4 words_[kVecSteps][kVecOut];
  typename Format::Pair part_[kVecSteps][kVecOut];
};

}  // namespace gritstone::cuda
