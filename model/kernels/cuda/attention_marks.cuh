// Which 64 slots a tile of attention_tiles.cu can leave out, and which it can take without masks, when slots have groups.
#pragma once

#include <cstdint>

#include "model/kernels/cuda/attention_lanes.cuh"
#include "model/kernels/cuda/ops.h"
#include "model/kernels/cuda/warp.cuh"

namespace gritstone::cuda {

// The groups that a tile's queries see besides 0: passages are numbered in order, so that an interval says little too much. low < 0: all.
struct GroupRange {
  std::int32_t low, high;

  __device__ bool some(std::int32_t group) const { return (low < 0) | (group == 0) | ((low <= group) & (group <= high)); }
  __device__ bool every(std::int32_t group) const { return (low == high) & sees(low, group); }
};

enum Mark : unsigned char { kHidden, kMixed, kSeen };

__device__ inline int warp_least(int x) {
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2) x = min(x, __shfl_xor_sync(kAllLanes, x, distance));
  return x;
}
__device__ inline int warp_most(int x) { return -warp_least(-x); }

// Marks every block of 64 slots by what the tile's queries see of it. The warps (kWarps) share the blocks.
template <int kWarps>
__device__ inline void mark_blocks(const AttentionTile& tile, const StepView& step, const KvView& kv, const std::uint32_t* pages,
                                   std::uint32_t blocks, unsigned char* marks) {
  const std::uint32_t lane = threadIdx.x % kWarp;
  GroupRange range{INT32_MAX, -1};
  for (int i = static_cast<int>(lane); i < tile.rows; i += kWarp) {
    const std::int32_t group = step.group[tile.row + i];
    range = {min(range.low, group), max(range.high, group)};
  }
  range = {warp_least(range.low), warp_most(range.high)};
#pragma unroll 4
  for (std::uint32_t block = threadIdx.x / kWarp; block < blocks; block += kWarps) {
    const std::int32_t* groups = kv.groups + pages[block] * kPageSlots;
    const std::uint32_t last = min(static_cast<std::uint32_t>(tile.visible) - block * kPageSlots, kPageSlots) - 1;
    const std::int32_t a = groups[min(lane, last)], b = groups[min(lane + kWarp, last)];
    const bool some = __ballot_sync(kAllLanes, range.some(a) | range.some(b)) != 0;
    const bool every = __ballot_sync(kAllLanes, range.every(a) & range.every(b)) == kAllLanes;
    if (lane == 0) marks[block] = every ? kSeen : some ? kMixed : kHidden;
  }
}

}  // namespace gritstone::cuda
