// Attention for tiles of queries with Hopper's warpgroup products, after FlashAttention-3 (Shah et al. 2024): the copy engine brings K and
// V of 128 slots at a time, two warpgroups multiply, and while one makes weights of scores the tensor cores work for the other.
#pragma once

#include <algorithm>

#include "model/kernels/cuda/attention_tile.cuh"
#include "model/kernels/cuda/cluster.cuh"
#include "model/kernels/cuda/device.h"
#include "model/kernels/cuda/tensor_map.h"
#include "model/kernels/cuda/wgmma.cuh"

namespace gritstone::cuda {

struct WarpgroupTileWork {
  TileWork tile;
  std::uint32_t tile_count;
  CUtensorMap keys, values;  // boxes of kPageSlots rows: those of TileWork::keys, and of all pages
};

// Shared memory of a block: a ring of K and V of 128 slots, every 64 columns of them 128 rows of 128 swizzled bytes (wgmma_matrix), then
// the ring's barriers, then a mark for every 64 slots.
template <int kDim>
struct WarpgroupAttention {
  static constexpr std::uint32_t kGroups = 2, kMultipliers = 128 * kGroups, kThreads = kMultipliers + 128;
  static constexpr std::uint32_t kStages = 3;
  static constexpr std::uint32_t kPiece = 2 * kPageSlots * 128, kAlign = 1024;
  static constexpr std::uint32_t kPart = kDim / 64 * kPiece;  // K or V of a stage
  static constexpr std::uint32_t kStage = 2 * kPart;
  static constexpr std::uint32_t kBarriers = kStages * kStage, kMarks = kBarriers + 4 * kStages * sizeof(Barrier);
  static constexpr std::uint32_t kSharedBytes = kAlign + kMarks;           // without the marks
  static constexpr int kLoaderRegisters = 24, kMultiplierRegisters = 240;  // of 65,536 in a block
};
static_assert(kTileRows == WarpgroupAttention<64>::kMultipliers / 2);

// Full: the copies are there; empty: both warpgroups are done.
struct AttentionBarriers {
  Barrier *keys_full, *keys_empty, *values_full, *values_empty;

  template <class Shape>
  static __device__ AttentionBarriers of(unsigned char* shared, Shape) {
    Barrier* first = reinterpret_cast<Barrier*>(shared + Shape::kBarriers);
    return {first, first + Shape::kStages, first + 2 * Shape::kStages, first + 3 * Shape::kStages};
  }
};

// The blocks of 64 slots that a tile's queries see, two by two; a second one may be missing.
class BlockPairs {
 public:
  static constexpr std::uint32_t kMissing = 0xFFFFFFFFu;

  __device__ BlockPairs(const TileWork& work, const AttentionTile& tile, const unsigned char* marks)
      : marks_(work.arguments.grouped ? marks : nullptr),
        blocks_((static_cast<std::uint32_t>(tile.visible) + kPageSlots - 1) / kPageSlots),
        first_(next(0)),
        second_(next(first_ + 1)) {}

  __device__ bool any() const { return first_ < blocks_; }
  __device__ std::uint32_t first() const { return first_; }
  __device__ std::uint32_t second() const { return second_ < blocks_ ? second_ : kMissing; }
  __device__ void advance() {
    first_ = next(second_ + 1);
    second_ = next(first_ + 1);
  }
  __device__ bool mixed(std::uint32_t block) const { return marks_ != nullptr && block != kMissing && marks_[block] == kMixed; }

 private:
  __device__ std::uint32_t next(std::uint32_t block) const {
    while (marks_ != nullptr && block < blocks_ && marks_[block] == kHidden) ++block;
    return block;
  }

  const unsigned char* marks_;
  std::uint32_t blocks_, first_, second_;
};

// One thread: K and V of every pair of blocks; n counts pairs over all tiles of the block. In place of a missing one comes the first again:
// something finite that weighs nothing.
template <int kDim>
__device__ void load_pairs(const WarpgroupTileWork& work, const AttentionTile& tile, std::uint32_t kv_head, BlockPairs pairs,
                           unsigned char* shared, const AttentionBarriers& barriers, std::uint32_t& n) {
  using Shape = WarpgroupAttention<kDim>;
  const KvView& kv = work.tile.kv;
  const std::uint32_t* pages = work.tile.step.page_table + static_cast<std::size_t>(tile.sequence) * work.tile.step.table_stride;
  const auto copy = [&](const CUtensorMap* matrix, unsigned char* to, std::uint32_t row, Barrier* full) {
#pragma unroll
    for (std::uint32_t piece = 0; piece < kDim / 64; ++piece) copy_box(to + piece * Shape::kPiece, matrix, row, piece * 64, full, 1);
  };
#pragma unroll 1
  for (; pairs.any(); ++n, pairs.advance()) {
    const RingPlace<Shape::kStages> ring(n);
    unsigned char* const stage = shared + ring.place * Shape::kStage;
    const std::uint32_t blocks[2] = {pairs.first(), pairs.second() == BlockPairs::kMissing ? pairs.first() : pairs.second()};
    Barrier* const keys = &barriers.keys_full[ring.place];
    barrier_wait(&barriers.keys_empty[ring.place], ring.parity ^ 1);
    barrier_arrive_expecting(keys, Shape::kPart);
#pragma unroll
    for (std::uint32_t i = 0; i < 2; ++i) {
      const std::uint32_t row = ((static_cast<std::uint32_t>(tile.key_block) + blocks[i]) * kv.kv_heads + kv_head) * kPageSlots;
      copy(&work.keys, stage + i * kPageSlots * 128, row, keys);
    }
    Barrier* const values = &barriers.values_full[ring.place];
    barrier_wait(&barriers.values_empty[ring.place], ring.parity ^ 1);
    barrier_arrive_expecting(values, Shape::kPart);
#pragma unroll
    for (std::uint32_t i = 0; i < 2; ++i) {
      const std::uint32_t row = (((pages[blocks[i]] * kv.layers + work.tile.arguments.layer) * 2 + 1) * kv.kv_heads + kv_head) * kPageSlots;
      copy(&work.values, stage + Shape::kPart + i * kPageSlots * 128, row, values);
    }
  }
}

// The largest of a lane's scores of a row (half 0 or 1), and their sum: four chains side by side.
__device__ inline float largest_score(const float (&scores)[16][4], int half) {
  float most[4];
#pragma unroll
  for (int n = 0; n < 16; ++n) {
    const float pair = fmaxf(scores[n][2 * half], scores[n][2 * half + 1]);
    most[n % 4] = n < 4 ? pair : fmaxf(most[n % 4], pair);
  }
  return fmaxf(fmaxf(most[0], most[1]), fmaxf(most[2], most[3]));
}

// As weigh() in attention_tile.cuh, of 128 slots.
__device__ inline void weigh_pair(float (&scores)[16][4], float (&top)[2], float (&sum)[2], float (&factors)[2]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float next = largest_score(scores, half);
    next = fmaxf(next, __shfl_xor_sync(kAllLanes, next, 1));
    next = fmaxf(top[half], fmaxf(next, __shfl_xor_sync(kAllLanes, next, 2)));
    const float shift = shift_of(next);
    factors[half] = exp2f(top[half] - shift);
    top[half] = next;
    float parts[4] = {};
#pragma unroll
    for (int n = 0; n < 16; ++n) {
#pragma unroll
      for (int i = 2 * half; i < 2 * half + 2; ++i) {
        scores[n][i] = exp2f(scores[n][i] - shift);
        parts[n % 2 * 2 + i % 2] += scores[n][i];
      }
    }
    sum[half] = sum[half] * factors[half] + ((parts[0] + parts[1]) + (parts[2] + parts[3]));
  }
}

// A warpgroup's 64 queries; `pair` counts as n above.
template <int kDim>
__device__ void attend_pairs(const WarpgroupTileWork& work, const AttentionTile& tile, std::uint32_t head, BlockPairs pairs,
                             unsigned char* shared, const AttentionBarriers& barriers, std::uint32_t& pair) {
  using Shape = WarpgroupAttention<kDim>;
  const std::uint32_t group = threadIdx.x / 128, lane = threadIdx.x % kWarp;
  const std::uint32_t* pages = work.tile.step.page_table + static_cast<std::size_t>(tile.sequence) * work.tile.step.table_stride;
  std::uint32_t q[kDim / 16][4];
  const Queries queries = load_queries<kDim>(work.tile, tile, head, q);
  const int least_visible = warp_least(min(queries.visible[0], queries.visible[1]));
  int most_visible = 0;  // of the warpgroup's queries: 0 if it has none
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const std::int32_t row = static_cast<std::int32_t>(group * 64 + lane) + half * kWarp;
    if (row < tile.rows) most_visible = max(most_visible, work.tile.step.visible[tile.row + row]);
  }
  most_visible = __reduce_max_sync(kAllLanes, most_visible);

  float top[2] = {-INFINITY, -INFINITY}, sum[2] = {}, acc[kDim / 8][4] = {}, scores[16][4];
  std::uint32_t weights[8][4];
  const auto seen = [&](const BlockPairs& some) { return some.any() && static_cast<int>(some.first() * kPageSlots) < most_visible; };
  const auto release = [&](Barrier* empty, std::uint32_t n) {
    if (threadIdx.x % 128 == 0) barrier_arrive_at(0, &empty[n % Shape::kStages]);
  };
  const auto arrive = [&](Barrier* full, std::uint32_t n) {
    const RingPlace<Shape::kStages> ring(n);
    barrier_wait(&full[ring.place], ring.parity);
  };
  const auto keys_of = [&](std::uint32_t n) { return shared + n % Shape::kStages * Shape::kStage; };
  const auto hide_block = [&](std::uint32_t block, float(&part)[8][4]) {
    const bool missing = block == BlockPairs::kMissing;
    const std::int32_t first_slot = missing ? INT32_MAX - 64 : static_cast<std::int32_t>(block * kPageSlots);
    const bool mixed = pairs.mixed(block);
    if (!missing && !mixed && first_slot + static_cast<int>(kPageSlots) <= least_visible) return;
    const auto* groups = mixed ? reinterpret_cast<const unsigned char*>(work.tile.kv.groups + pages[block] * kPageSlots) : nullptr;
    hide(queries, first_slot, groups, part);
  };
  // Slots that no query sees may hold anything: their V becomes zero, since 0 * NaN would reach the sums. Only the last block has any.
  const auto clear_unseen = [&](std::uint32_t n) {
    unsigned char* const values = shared + n % Shape::kStages * Shape::kStage + Shape::kPart;
    bool cleared = false;
#pragma unroll
    for (std::uint32_t i = 0; i < 2; ++i) {
      const std::uint32_t block = i == 0 || pairs.second() == BlockPairs::kMissing ? pairs.first() : pairs.second();
      const std::uint32_t used = min(static_cast<std::uint32_t>(tile.visible) - block * kPageSlots, kPageSlots);
      for (std::uint32_t at = used * 8 + threadIdx.x % 128; at < kPageSlots * 8; at += 128) {
        for (std::uint32_t piece = 0; piece < kDim / 64; ++piece) {
          *reinterpret_cast<uint4*>(values + piece * Shape::kPiece + i * kPageSlots * 128 + at * 16) = make_uint4(0, 0, 0, 0);
        }
      }
      cleared = cleared || used < kPageSlots;
    }
    if (!cleared) return;
    wgmma_fence_shared();
    sync_warpgroup(group);
  };

  const auto weigh_scores = [&](float(&factors)[2]) {
    hide_block(pairs.first(), reinterpret_cast<float(&)[8][4]>(scores[0]));
    hide_block(pairs.second(), reinterpret_cast<float(&)[8][4]>(scores[8]));
    weigh_pair(scores, top, sum, factors);
  };
  const auto pack = [&] {
#pragma unroll
    for (int k = 0; k < 8; ++k) pack_weights(scores[2 * k], scores[2 * k + 1], weights[k]);
  };

  if (seen(pairs)) {
    float factors[2];
    wgmma_hold(q);
    arrive(barriers.keys_full, pair);
    wgmma_begin();
    wgmma_by_rows(scores, q, keys_of(pair));
    wgmma_commit();
    wgmma_wait<0>();
    wgmma_hold(scores);
    release(barriers.keys_empty, pair);
    weigh_scores(factors);
    pack();
    BlockPairs next = pairs;
    next.advance();
#pragma unroll 1
    for (; seen(next); ++pair) {
      arrive(barriers.values_full, pair);
      clear_unseen(pair);
      arrive(barriers.keys_full, pair + 1);
      wgmma_hold(acc);
      wgmma_hold(weights);
      wgmma_begin();
      wgmma_by_rows(scores, q, keys_of(pair + 1));
      wgmma_commit();
      wgmma_by_columns(acc, weights, keys_of(pair) + Shape::kPart);
      wgmma_commit();
      wgmma_wait<1>();
      wgmma_hold(scores);
      release(barriers.keys_empty, pair + 1);
      pairs = next;
      next.advance();
      weigh_scores(factors);
      wgmma_wait<0>();
      wgmma_hold(acc);
      wgmma_hold(weights);
      release(barriers.values_empty, pair);
      if (__any_sync(kAllLanes, (factors[0] != 1) | (factors[1] != 1))) scale(factors, acc);
      pack();
    }
    arrive(barriers.values_full, pair);
    clear_unseen(pair);
    wgmma_hold(acc);
    wgmma_hold(weights);
    wgmma_begin();
    wgmma_by_columns(acc, weights, keys_of(pair) + Shape::kPart);
    wgmma_commit();
    wgmma_wait<0>();
    wgmma_hold(acc);
    release(barriers.values_empty, pair);
    ++pair;
    pairs.advance();
  }
  // Pairs that only the other warpgroup's queries see.
  for (; pairs.any(); ++pair, pairs.advance()) {
    const RingPlace<Shape::kStages> ring(pair);
    barrier_wait(&barriers.keys_full[ring.place], ring.parity);
    release(barriers.keys_empty, pair);
    barrier_wait(&barriers.values_full[ring.place], ring.parity);
    release(barriers.values_empty, pair);
  }
  write_results<kDim>(work.tile, tile, head, sum, acc);
}

// A block takes 128 queries of a head after the other, from the last tile, which in causal prefill sees most, to the first; every other
// round runs backwards, so that all blocks get as much. K and V of the next ones are on their way while the results of one are written.
//
// For 128 slots and head_dim 128 the products of a block take 2,048 cycles (4,096 operations a cycle and processor), the 16,384
// exponentials 1,024 (16 a cycle) and the instructions about 1,400 (700 a warp, two warps a scheduler).
template <int kDim>
__global__ void __launch_bounds__(WarpgroupAttention<kDim>::kThreads, 1)
    attend_tile_warpgroup(const __grid_constant__ WarpgroupTileWork work) {
  using Shape = WarpgroupAttention<kDim>;
  GS_DYNAMIC_SHARED(memory);
  unsigned char* const shared = memory + (Shape::kAlign - reinterpret_cast<std::uintptr_t>(memory) % Shape::kAlign) % Shape::kAlign;
  unsigned char* const marks = shared + Shape::kMarks;
  const AttentionBarriers barriers = AttentionBarriers::of(shared, Shape());
  if (threadIdx.x == 0) {
    for (std::uint32_t i = 0; i < Shape::kStages; ++i) {
      barrier_init(&barriers.keys_full[i], 1);
      barrier_init(&barriers.values_full[i], 1);
      barrier_init(&barriers.keys_empty[i], Shape::kGroups);
      barrier_init(&barriers.values_empty[i], Shape::kGroups);
    }
    barriers_are_ready();
  }
  let_next_start();
  wait_for_previous();
  const std::uint32_t heads = work.tile.arguments.heads, items = heads * work.tile_count;
  const auto tile_of = [&](std::uint32_t item) { return work.tile.tiles[work.tile_count - 1 - item / heads]; };
  if (work.tile.arguments.grouped) {  // one item a block
    const AttentionTile tile = tile_of(blockIdx.x);
    const std::uint32_t blocks = (static_cast<std::uint32_t>(tile.visible) + kPageSlots - 1) / kPageSlots;
    const std::uint32_t* pages = work.tile.step.page_table + static_cast<std::size_t>(tile.sequence) * work.tile.step.table_stride;
    mark_blocks<Shape::kThreads / kWarp>(tile, work.tile.step, work.tile.kv, pages, blocks, marks);
  }
  __syncthreads();
  const auto each_item = [&](const auto& attend) {
#pragma unroll 1
    for (std::uint32_t round = 0; round * gridDim.x < items; ++round) {
      const std::uint32_t item = round * gridDim.x + (round % 2 == 0 ? blockIdx.x : gridDim.x - 1 - blockIdx.x);
      if (item < items) attend(tile_of(item), item % heads);
    }
  };
  std::uint32_t n = 0;
  if (threadIdx.x < Shape::kMultipliers) {
    registers_up<Shape::kMultiplierRegisters>();
    each_item([&](const AttentionTile& tile, std::uint32_t head) {
      attend_pairs<kDim>(work, tile, head, BlockPairs(work.tile, tile, marks), shared, barriers, n);
    });
  } else {
    registers_down<Shape::kLoaderRegisters>();
    if (threadIdx.x != Shape::kMultipliers) return;
    each_item([&](const AttentionTile& tile, std::uint32_t head) {
      const std::uint32_t kv_head = head / (heads / work.tile.kv.kv_heads);
      load_pairs<kDim>(work, tile, kv_head, BlockPairs(work.tile, tile, marks), shared, barriers, n);
    });
  }
}

template <int kDim>
void launch_warpgroup_attention(Stream stream, const TileWork& work, std::uint32_t tile_count) {
  using Shape = WarpgroupAttention<kDim>;
  // How many rows there are is not known here; none beyond is asked for.
  constexpr std::uint64_t kRows = std::uint64_t{1} << 31;
  const WarpgroupTileWork full{work, tile_count, tensor_map(work.keys, kRows, kDim, kPageSlots),
                               tensor_map(work.kv.memory, kRows, kDim, kPageSlots)};
  const std::size_t shared = Shape::kSharedBytes + (work.arguments.grouped ? work.step.table_stride : 0);
  const std::uint32_t items = work.arguments.heads * tile_count;
  const auto processors = static_cast<std::uint32_t>(device_properties().multiProcessorCount);
  const std::uint32_t blocks = work.arguments.grouped ? items : std::min(items, processors);
  launch_overlapped(attend_tile_warpgroup<kDim>, dim3(blocks), dim3(Shape::kThreads), shared, stream, full);
}

}  // namespace gritstone::cuda
