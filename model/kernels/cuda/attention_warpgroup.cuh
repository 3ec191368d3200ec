// Attention for tiles of queries with Hopper's warpgroup products, after FlashAttention-3 (Shah et al. 2024): while a warpgroup makes
// weights of the scores of 64 slots, its products with V of the slots before and with K of those after run in the background.
#pragma once

#include <type_traits>

#include "model/kernels/cuda/attention_tile.cuh"
#include "model/kernels/cuda/device.h"
#include "model/kernels/cuda/wgmma.cuh"

namespace gritstone::cuda {

// Shared memory of a block: a ring of K and V of 64 slots each, every 64 columns of them 64 rows of 128 swizzled bytes (wgmma_matrix), then
// the ring's groups, then a mark for every 64 slots.
template <int kDim>
struct WarpgroupAttention {
  static constexpr int kThreads = 2 * kTileRows;  // two warpgroups of 64 queries
  static constexpr int kStages = 6;               // four hold what is in use (meet), the others what is on its way
  static constexpr std::uint32_t kHalf = kPageSlots * 128, kAlign = 1024;
  static constexpr std::uint32_t kValues = kDim / 64 * kHalf;  // of a stage
  static constexpr std::uint32_t kStage = 2 * kValues;
  static constexpr std::uint32_t kGroups = kStages * kStage, kMarks = kGroups + kStages * kPageSlots * 4;
  static constexpr std::uint32_t kSharedBytes = kAlign + kMarks;  // without the marks

  static __device__ std::uint32_t after(std::uint32_t stage) { return stage + 1 == kStages ? 0 : stage + 1; }
};

// Copies the blocks of 64 slots that a tile's queries see into the ring, in order.
template <int kDim>
class BlockCopies {
 public:
  using Shape = WarpgroupAttention<kDim>;

  __device__ BlockCopies(const TileWork& work, const AttentionTile& tile, std::uint32_t kv_head, const unsigned char* marks,
                         unsigned char* shared)
      : work_(work), tile_(tile), marks_(marks), shared_(shared) {
    keys_ = work.first_keys(tile, kv_head, kDim) + threadIdx.x * 8;
    values_ = work.first_values(kv_head) + threadIdx.x * 8;
    blocks_ = (static_cast<std::uint32_t>(tile.visible) + kPageSlots - 1) / kPageSlots;
    pages_ = work.step.page_table + static_cast<std::size_t>(tile.sequence) * work.step.table_stride;
    block_ = next(0);
    if (block_ < blocks_) page_ = pages_[block_];
  }

  // From `block` on, the first one that is not hidden.
  __device__ std::uint32_t next(std::uint32_t block) const {
    while (work_.arguments.grouped && block < blocks_ && marks_[block] == kHidden) ++block;
    return block;
  }

  // Starts the next block's copies, if one is left. Slots that no query sees may hold anything: their V becomes zero, since 0 * NaN would
  // reach the sums. The page of the block after it is asked for now, so that nobody waits for it.
  __device__ void start() {
    if (block_ < blocks_) {
      constexpr std::uint32_t kChunks = kDim / 8, kRowsApart = Shape::kThreads / kChunks;  // of 16 bytes; of a thread's copies
      static_assert(kRowsApart % 8 == 0);                                                  // its chunks are swizzled alike
      const std::uint32_t row = threadIdx.x / kChunks, chunk = threadIdx.x % kChunks;
      unsigned char* to = shared_ + stage_ * Shape::kStage + chunk / 8 * Shape::kHalf + row * 128 + ((chunk % 8) ^ (row % 8)) * 16;
      const __half* keys = keys_ + std::size_t{block_} * work_.key_stride(kDim);
      const bf16* values = values_ + std::size_t{page_} * work_.page_stride(kDim);
      const std::uint32_t slots = static_cast<std::uint32_t>(tile_.visible) - block_ * kPageSlots;
#pragma unroll
      for (std::uint32_t i = 0; i < kPageSlots / kRowsApart; ++i) {
        copy_async(to + i * kRowsApart * 128, keys + i * Shape::kThreads * 8, true);
        copy_async(to + i * kRowsApart * 128 + Shape::kValues, values + i * Shape::kThreads * 8, row + i * kRowsApart < slots);
      }
      if (work_.arguments.grouped && threadIdx.x < kPageSlots / 4) {
        copy_async(shared_ + Shape::kGroups + (stage_ * kPageSlots + threadIdx.x * 4) * 4,
                   work_.kv.groups + page_ * kPageSlots + threadIdx.x * 4, true);
      }
      stage_ = Shape::after(stage_);
      block_ = next(block_ + 1);
      if (block_ < blocks_) page_ = pages_[block_];
    }
    copy_async_commit();
  }

  // How many blocks below `end` are not hidden.
  __device__ std::uint32_t count(std::uint32_t end) const {
    if (!work_.arguments.grouped) return end;
    unsigned n = 0;
    for (std::uint32_t block = threadIdx.x % kWarp; block < end; block += kWarp) n += marks_[block] != kHidden;
    return __reduce_add_sync(kAllLanes, n);
  }

 private:
  const TileWork& work_;
  const AttentionTile& tile_;
  const __half* keys_;
  const bf16* values_;
  const unsigned char* marks_;
  unsigned char* shared_;
  const std::uint32_t* pages_;
  std::uint32_t blocks_, block_, page_ = 0, stage_ = 0;
};

// Block (head, tile): 128 queries of a head, a warpgroup 64. Tiles are taken from the last, which in causal prefill sees most, to the
// first.
//
// For 64 slots and head_dim 128 the products take 1,024 cycles (4,096 operations a cycle and processor), the 8,192 exponentials 512 (16 a
// cycle) and all instructions about 680 to 800 (340 to 400 a warp, counted in the machine code; the more where sums are scaled; two warps
// a scheduler): the tensor cores are the limit if the warpgroups take turns. For head_dim 64 the exponentials take as long as the products.
// ptxas (13.0) leaves the products in the background only if none are under way across the loop's end, and if neither sums nor weights are
// written between a product's call and a wait for all of them (C7513 to C7515 in its output): hence wgmma_wait<0> before the sums are
// scaled and the weights packed, and a loop of two blocks.
template <int kDim>
__global__ void __launch_bounds__(WarpgroupAttention<kDim>::kThreads, 1) attend_tile_warpgroup(const TileWork work) {
  using Shape = WarpgroupAttention<kDim>;
  GS_DYNAMIC_SHARED(memory);
  unsigned char* const shared = memory + (Shape::kAlign - reinterpret_cast<std::uintptr_t>(memory) % Shape::kAlign) % Shape::kAlign;
  unsigned char* const marks = shared + Shape::kMarks;
  let_next_start();
  wait_for_previous();
  const AttentionTile tile = work.tiles[gridDim.y - 1 - blockIdx.y];
  const std::uint32_t head = blockIdx.x, kv_head = head / (work.arguments.heads / work.kv.kv_heads);
  const std::uint32_t blocks = (static_cast<std::uint32_t>(tile.visible) + kPageSlots - 1) / kPageSlots;
  if (work.arguments.grouped) {
    const std::uint32_t* pages = work.step.page_table + static_cast<std::size_t>(tile.sequence) * work.step.table_stride;
    mark_blocks<Shape::kThreads / kWarp>(tile, work.step, work.kv, pages, blocks, marks);
    __syncthreads();
  }
  BlockCopies<kDim> copies(work, tile, kv_head, marks, shared);
#pragma unroll 1
  for (int i = 0; i < Shape::kStages - 2; ++i) copies.start();

  std::uint32_t q[kDim / 16][4];
  const Queries queries = load_queries<kDim>(work, tile, head, q);
  const int least_visible = warp_least(min(queries.visible[0], queries.visible[1]));
  // Blocks of the tile, and of these the first ones, which the warpgroup's queries see: none if it has no queries.
  int most_visible = 0;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const std::int32_t row = static_cast<std::int32_t>(threadIdx.x / 128 * 64 + threadIdx.x % kWarp) + half * kWarp;
    if (row < tile.rows) most_visible = max(most_visible, work.step.visible[tile.row + row]);
  }
  most_visible = __reduce_max_sync(kAllLanes, most_visible);
  const std::uint32_t count = copies.count(blocks), own = copies.count(min(blocks, (most_visible + kPageSlots - 1) / kPageSlots));

  float top[2] = {-INFINITY, -INFINITY}, sum[2] = {}, acc[kDim / 8][4] = {};
  float scores_a[8][4], scores_b[8][4];
  std::uint32_t weights[4][4];
  std::uint32_t block = copies.next(0), i = 0;  // whose scores are next, and its number among those that are seen
  std::uint32_t stage = 0, before = 0;          // its stage, and that of the block before
  std::uint32_t met = 2;                        // blocks that are there for both warpgroups

  // Where the warpgroups meet, for every block from the third on: it is there then, and both are done with the one four before it, whose
  // stage is filled anew. The first group meets before it asks for that block's scores, the second when it has the weights of the block two
  // before, so that one has products under way when the other waits for its own and packs weights.
  bool refill = false;
  const bool second = threadIdx.x >= Shape::kThreads / 2;
  const auto meet = [&] {
    copy_async_wait<Shape::kStages - 5>();
    wgmma_fence_shared();
    sync_block<Shape::kThreads>();
    ++met;
    refill = true;
  };
  const auto start_copies = [&] {
    if (refill) copies.start();
    refill = false;
  };
  const auto multiply_keys = [&](float(&scores)[8][4], std::uint32_t at) {
    wgmma_begin();
    wgmma_by_rows(scores, q, shared + at * Shape::kStage);
    wgmma_commit();
  };
  const auto multiply_values = [&] {
    wgmma_hold(acc);
    wgmma_hold(weights);
    wgmma_begin();
    wgmma_by_columns(acc, weights, shared + before * Shape::kStage + Shape::kValues);
    wgmma_commit();
  };
  const auto weigh_block = [&](float(&scores)[8][4]) {
    const int first_slot = static_cast<int>(block * kPageSlots);
    const bool mixed = work.arguments.grouped && marks[block] == kMixed;
    if (mixed || first_slot + static_cast<int>(kPageSlots) > least_visible) {
      hide(queries, first_slot, mixed ? shared + Shape::kGroups + stage * kPageSlots * 4 : nullptr, scores);
    }
    float factors[2];
    weigh(scores, top, sum, factors);
    if (second && met < count) meet();
    before = stage;
    stage = Shape::after(stage);
    block = copies.next(block + 1);
    ++i;
    wgmma_wait<0>();
    wgmma_hold(acc);
    if (__any_sync(kAllLanes, (factors[0] != 1) | (factors[1] != 1))) scale(factors, acc);
#pragma unroll
    for (int k = 0; k < 4; ++k) pack_weights(scores[2 * k], scores[2 * k + 1], weights[k]);
  };
  const auto attend = [&](float(&scores)[8][4], float(&next)[8][4], auto more) {
    multiply_values();
    if (!second && met < count) meet();
    if constexpr (more) multiply_keys(next, Shape::after(stage));
    start_copies();
    weigh_block(scores);
    if constexpr (more) wgmma_hold(next);
  };

  copy_async_wait<Shape::kStages - 4>();  // blocks 0 and 1
  wgmma_fence_shared();
  sync_block<Shape::kThreads>();
  if (own > 0) {
    wgmma_hold(q);
    multiply_keys(scores_a, 0);
    wgmma_wait<0>();
    wgmma_hold(scores_a);
    multiply_keys(scores_b, 1);
    weigh_block(scores_a);
    wgmma_hold(scores_b);
#pragma unroll 1
    while (i + 2 < own) {
      attend(scores_b, scores_a, std::true_type());
      attend(scores_a, scores_b, std::true_type());
    }
    if (i + 2 == own) {
      attend(scores_b, scores_a, std::true_type());
#pragma unroll
      for (int n = 0; n < 8; ++n) {
#pragma unroll
        for (int k = 0; k < 4; ++k) scores_b[n][k] = scores_a[n][k];
      }
    }
    if (i < own) attend(scores_b, scores_a, std::false_type());
    multiply_values();
    wgmma_wait<0>();
    wgmma_hold(acc);
  }
  // Blocks that only the other warpgroup's queries see: copies for it.
  start_copies();
#pragma unroll 1
  while (met < count) {
    meet();
    start_copies();
  }
  write_results<kDim>(work, tile, head, sum, acc);
}

template <int kDim>
void launch_warpgroup_attention(Stream stream, const TileWork& work, std::uint32_t tile_count) {
  using Shape = WarpgroupAttention<kDim>;
  const std::size_t shared = Shape::kSharedBytes + (work.arguments.grouped ? work.step.table_stride : 0);
  allow_shared_memory(attend_tile_warpgroup<kDim>, shared);
  launch_overlapped(attend_tile_warpgroup<kDim>, dim3(work.arguments.heads, tile_count), dim3(Shape::kThreads), shared, stream, work);
}

}  // namespace gritstone::cuda
