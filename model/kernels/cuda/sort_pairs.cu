// Stable counting sort of (row, choice) pairs by expert, in two kernels: counts of each chunk, then places. 65,536 pairs are 64 chunks, so
// every block of the second kernel adds up all chunks' counts itself (16 KiB at 64 experts) instead of waiting for a third kernel.
#include <algorithm>

#include "model/kernels/cuda/device.h"
#include "model/kernels/cuda/ops.h"
#include "model/kernels/cuda/warp.cuh"

namespace gritstone::cuda {
namespace {

constexpr std::uint32_t kMaxExperts = 256;
constexpr int kThreads = 256;  // one for each expert
constexpr int kWarps = kThreads / kWarp;
constexpr int kRounds = 4;
constexpr std::uint32_t kChunk = kThreads * kRounds;

std::size_t chunk_count(std::uint32_t pairs) { return std::max<std::size_t>(1, ceil_div(pairs, kChunk)); }

// counts [chunks, experts]
__global__ void __launch_bounds__(kThreads)
    count_pairs_kernel(const std::int32_t* chosen, std::uint32_t pairs, std::uint32_t experts, std::int32_t* counts) {
  __shared__ std::int32_t count[kMaxExperts];
  let_next_start();
  wait_for_previous();
  count[threadIdx.x] = 0;
  __syncthreads();
#pragma unroll
  for (int round = 0; round < kRounds; ++round) {
    const std::uint32_t i = blockIdx.x * kChunk + round * kThreads + threadIdx.x;
    if (i < pairs) atomicAdd(&count[chosen[i]], 1);
  }
  __syncthreads();
  if (threadIdx.x < experts) counts[blockIdx.x * experts + threadIdx.x] = count[threadIdx.x];
}

// Sum of the values of the threads before this one.
__device__ std::int32_t sum_before(std::int32_t value) {
  __shared__ std::int32_t totals[kWarps];
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  std::int32_t sum = value;
#pragma unroll
  for (int offset = 1; offset < kWarp; offset *= 2) {
    const std::int32_t other = __shfl_up_sync(kAllLanes, sum, offset);
    if (lane >= offset) sum += other;
  }
  if (lane == kWarp - 1) totals[warp] = sum;
  __syncthreads();
  sum -= value;
  for (int w = 0; w < warp; ++w) sum += totals[w];
  return sum;
}

// A warp takes 128 consecutive pairs, 32 a round: a pair comes after those of its expert in earlier chunks, warps, rounds and lanes.
__global__ void __launch_bounds__(kThreads) place_pairs_kernel(const std::int32_t* chosen, std::uint32_t used, std::uint32_t experts,
                                                               const std::int32_t* counts, std::uint32_t chunks, const ExpertPairs out) {
  __shared__ std::int32_t next[kWarps][kMaxExperts];  // at first how many pairs the warp has, then where the next one goes
  let_next_start();
  wait_for_previous();
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  for (int w = 0; w < kWarps; ++w) next[w][threadIdx.x] = 0;
  __syncthreads();

  const std::uint32_t first = blockIdx.x * kChunk + warp * kRounds * kWarp + lane;
  std::int32_t expert[kRounds];
  std::uint32_t same[kRounds];  // lanes with the same expert
#pragma unroll
  for (int round = 0; round < kRounds; ++round) {
    const std::uint32_t i = first + round * kWarp;
    expert[round] = i < out.pairs ? chosen[i] : -1;
    same[round] = __match_any_sync(kAllLanes, expert[round]);
    const bool leads = (same[round] & ((1u << lane) - 1)) == 0;
    if (leads && expert[round] >= 0) next[warp][expert[round]] += __popc(same[round]);
    __syncwarp();
  }

  std::int32_t total = 0, before = 0;  // of expert threadIdx.x: in all chunks, in those before this one
  if (threadIdx.x < experts) {
#pragma unroll 8
    for (std::uint32_t c = 0; c < chunks; ++c) {
      const std::int32_t count = counts[c * experts + threadIdx.x];
      total += count;
      before += c < blockIdx.x ? count : 0;
    }
  }
  const std::int32_t offset = sum_before(total);
  if (blockIdx.x == 0 && threadIdx.x < experts) out.offsets[threadIdx.x] = offset;
  if (blockIdx.x == 0 && threadIdx.x == 0) out.offsets[experts] = static_cast<std::int32_t>(out.pairs);
  if (blockIdx.x == 0 && threadIdx.x < kTickets) out.tickets[threadIdx.x] = 0;
  // sum_before had a barrier: every warp's counts are there.
  std::int32_t place = offset + before;
  for (int w = 0; w < kWarps; ++w) {
    const std::int32_t count = next[w][threadIdx.x];
    next[w][threadIdx.x] = place;
    place += count;
  }
  __syncthreads();

#pragma unroll
  for (int round = 0; round < kRounds; ++round) {
    const std::uint32_t i = first + round * kWarp;
    const std::uint32_t earlier = same[round] & ((1u << lane) - 1);
    const std::int32_t pair = expert[round] >= 0 ? next[warp][expert[round]] + __popc(earlier) : 0;
    __syncwarp();
    if (expert[round] >= 0) {
      if (earlier == 0) next[warp][expert[round]] += __popc(same[round]);
      out.pair_of_choice[i] = pair;
      out.row_of_pair[pair] = static_cast<std::int32_t>(i / used);
    }
    __syncwarp();
  }
}

}  // namespace

std::size_t sort_scratch_ints(std::uint32_t rows, std::uint32_t used, std::uint32_t experts) { return chunk_count(rows * used) * experts; }

void sort_pairs(Stream stream, const std::int32_t* chosen, std::uint32_t rows, std::uint32_t used, std::uint32_t experts,
                std::int32_t* scratch, const ExpertPairs& out) {
  GS_CHECK(experts <= kMaxExperts && used > 0 && out.pairs == rows * used);
  const auto chunks = static_cast<std::uint32_t>(chunk_count(out.pairs));
  launch_overlapped(count_pairs_kernel, dim3(chunks), dim3(kThreads), 0, stream, chosen, out.pairs, experts, scratch);
  launch_overlapped(place_pairs_kernel, dim3(chunks), dim3(kThreads), 0, stream, chosen, used, experts, scratch, chunks, out);
}

}  // namespace gritstone::cuda
