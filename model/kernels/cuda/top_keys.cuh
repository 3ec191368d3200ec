// The largest values of many with their places, by selection in blocks: keys that order like (value, then the lower id) are thinned out,
// kTopSegment to k in a block, until one block's worth is left.
#pragma once

#include <cstddef>
#include <cstdint>

#include "model/kernels/cuda/device.h"
#include "model/kernels/cuda/warp.cuh"

namespace gritstone::cuda {

using Key = unsigned long long;

inline constexpr int kTopThreads = 256;
inline constexpr int kTopPerThread = 16;
inline constexpr std::uint32_t kTopSegment = kTopThreads * kTopPerThread;  // keys one block selects from, in registers
// Keys that are ranked against each other: k and some that a coarse threshold lets through.
__host__ __device__ constexpr std::uint32_t most_candidates(std::uint32_t k) { return k + k / 4 + 32; }

static_assert(kMaxTopK <= kTopThreads, "the first threshold is found among one key of each thread");

// Orders like the value (0 and -0 are one value), then by descending id; 0 stands for nothing.
__device__ inline Key make_key(float value, std::uint32_t id) {
  std::uint32_t bits = __float_as_uint(value);
  if (bits == 0x80000000u) bits = 0;
  const std::uint32_t ordered = (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
  return static_cast<Key>(ordered) << 32 | (0xFFFFFFFFu - id);
}
__device__ inline float value_of(Key key) {
  const std::uint32_t ordered = static_cast<std::uint32_t>(key >> 32);
  return __uint_as_float((ordered & 0x80000000u) != 0 ? ordered & 0x7FFFFFFFu : ~ordered);
}
__device__ inline std::uint32_t id_of(Key key) { return 0xFFFFFFFFu - static_cast<std::uint32_t>(key); }

// Where a block's keys come from: values with ids `base` + i, or keys of an earlier round.
struct KeySource {
  const float* values = nullptr;
  const Key* keys = nullptr;
  std::size_t stride = 0;  // between rows
  std::uint32_t count = 0;
  std::uint32_t base = 0;
  bool finite_only = false;  // of values: infinities and NaN are nothing
};

__device__ inline void load_keys(const KeySource& source, std::uint32_t row, std::uint32_t begin, Key (&keys)[kTopPerThread]) {
#pragma unroll
  for (int i = 0; i < kTopPerThread; ++i) {
    const std::uint32_t at = begin + i * kTopThreads + threadIdx.x;
    keys[i] = 0;
    if (at >= source.count) continue;
    if (source.keys != nullptr) {
      keys[i] = source.keys[row * source.stride + at];
      continue;
    }
    const float value = source.values[row * source.stride + at];
    const bool finite = (__float_as_uint(value) & 0x7F800000u) != 0x7F800000u;
    if (finite || !source.finite_only) keys[i] = make_key(value, source.base + at);
  }
}

struct TopScratch {
  Key candidates[most_candidates(kMaxTopK)];
  Key sorted[kMaxTopK];
  unsigned sums[2][kTopThreads / kWarp];
  unsigned taken;
};

// How many of the block's keys are at least `least`. Rounds alternate, so that one barrier each will do.
__device__ inline unsigned count_from(const Key (&keys)[kTopPerThread], Key least, unsigned (&sums)[kTopThreads / kWarp]) {
  unsigned mine = 0;
#pragma unroll
  for (int i = 0; i < kTopPerThread; ++i) mine += keys[i] >= least ? 1 : 0;
  mine = __reduce_add_sync(kAllLanes, mine);
  if (threadIdx.x % kWarp == 0) sums[threadIdx.x / kWarp] = mine;
  __syncthreads();
  unsigned total = 0;
#pragma unroll
  for (int w = 0; w < kTopThreads / kWarp; ++w) total += sums[w];
  return total;
}

// shared.sorted[0, k) becomes the k largest keys of the block, best first, zeros behind if it has fewer. All threads call, 1 <= k <=
// kMaxTopK; a block that calls again does so behind a barrier.
__device__ inline void block_top(const Key (&keys)[kTopPerThread], std::uint32_t k, TopScratch& shared) {
  if (threadIdx.x == 0) shared.taken = 0;
  if (threadIdx.x < k) shared.sorted[threadIdx.x] = 0;
  // The k-th largest of the threads' best is a bound that the k largest of all reach, and few others: of 4,096 random keys about 17 for
  // k = 16, 175 for k = 128. A round costs one barrier, and half the bits (a value to 1 in 128) are enough.
  std::uint32_t best = 0;
#pragma unroll
  for (int i = 0; i < kTopPerThread; ++i) best = max(best, static_cast<std::uint32_t>(keys[i] >> 32));
  std::uint32_t low = 0, above = 0xFFFFFFFFu;
  Key high = ~Key{0};
  while (above - low > 1u << 16) {
    const std::uint32_t middle = low + (above - low) / 2;
    const unsigned reached = static_cast<unsigned>(__syncthreads_count(best >= middle ? 1 : 0));
    if (reached >= k) {
      low = middle;
    } else {
      above = middle;
      if (reached == 0) high = static_cast<Key>(middle) << 32;
    }
  }
  Key least = low > 0 ? static_cast<Key>(low) << 32 : 1;
  unsigned held = count_from(keys, least, shared.sums[0]);
  // Too many where values are equal or lie unevenly. Keys differ, so this ends: at the latest with exactly k.
  for (int round = 1; held > most_candidates(k); ++round) {
    const Key middle = least + (high - least) / 2;
    const unsigned reached = count_from(keys, middle, shared.sums[round % 2]);
    if (reached >= k) {
      least = middle;
      held = reached;
    } else {
      high = middle;
    }
  }
#pragma unroll
  for (int i = 0; i < kTopPerThread; ++i) {
    if (keys[i] >= least) shared.candidates[atomicAdd(&shared.taken, 1u)] = keys[i];
  }
  __syncthreads();
  // A key's place is the number of larger ones.
  for (unsigned at = threadIdx.x; at < held; at += kTopThreads) {
    const Key key = shared.candidates[at];
    unsigned rank = 0;
#pragma unroll 4
    for (unsigned i = 0; i < held; ++i) rank += shared.candidates[i] > key ? 1 : 0;
    if (rank < k) shared.sorted[rank] = key;
  }
  __syncthreads();
}

// Keys that a round leaves of n.
inline std::size_t keys_left(std::size_t n, std::uint32_t k) { return ceil_div(n, kTopSegment) * k; }

namespace {

// The k largest keys of the block's segment of row blockIdx.y, best first, zeros behind: out[row * out_stride + segment * k].
__global__ void __launch_bounds__(kTopThreads) select_kernel(KeySource source, std::uint32_t k, Key* out, std::size_t out_stride) {
  __shared__ TopScratch shared;
  let_next_start();
  wait_for_previous();
  Key keys[kTopPerThread];
  load_keys(source, blockIdx.y, blockIdx.x * kTopSegment, keys);
  block_top(keys, k, shared);
  if (threadIdx.x < k) out[blockIdx.y * out_stride + static_cast<std::size_t>(blockIdx.x) * k + threadIdx.x] = shared.sorted[threadIdx.x];
}

inline void queue_select(Stream stream, const KeySource& source, std::uint32_t rows, std::uint32_t k, Key* out, std::size_t out_stride) {
  launch_overlapped(select_kernel, dim3(static_cast<unsigned>(ceil_div(source.count, kTopSegment)), rows), dim3(kTopThreads), 0, stream,
                    source, k, out, out_stride);
}

// Rounds over keys [rows, stride], `count` of each, until no row has more than a block takes; `spare` is of the same size. Returns what is
// left, its count in `count`.
inline const Key* thin_out(Stream stream, Key* keys, Key* spare, std::size_t stride, std::size_t& count, std::uint32_t rows,
                           std::uint32_t k) {
  while (count > kTopSegment) {
    queue_select(stream, KeySource{nullptr, keys, stride, static_cast<std::uint32_t>(count), 0, false}, rows, k, spare, stride);
    count = keys_left(count, k);
    Key* const written = spare;
    spare = keys;
    keys = written;
  }
  return keys;
}

}  // namespace

}  // namespace gritstone::cuda
