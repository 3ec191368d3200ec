// Attention for many queries of a sequence on the tensor cores: FlashAttention-2 (Dao 2023) over the pages of the KV memory.
#include "base/error.h"
#include "model/kernels/cuda/attention_tile.cuh"
#include "model/kernels/cuda/attention_variants.h"
#include "model/kernels/cuda/attention_warpgroup.cuh"
#include "model/kernels/cuda/device.h"
#include "model/kernels/cuda/ops.h"
#include "model/kernels/cuda/warp.cuh"

namespace gritstone::cuda {
namespace {

constexpr int kWarps = kTileRows / 16;  // sixteen queries each
constexpr int kThreads = kWarps * kWarp;
constexpr std::uint32_t kSlots = kPageSlots;

// Shared memory of a block: two stages of K, V and the slots' groups, then a mark for every 64 slots. Rows are padded by 16 bytes so that
// ldmatrix meets eight different bank groups.
template <int kDim>
struct Layout {
  static constexpr std::uint32_t kRow = kDim * 2 + 16;
  static constexpr std::uint32_t kValues = kSlots * kRow;
  static constexpr std::uint32_t kGroups = 2 * kSlots * kRow;
  static constexpr std::uint32_t kStage = kGroups + kSlots * 4;
  static constexpr std::uint32_t kMarks = 2 * kStage;
};

// Starts the copies of 64 slots. Slots that no query sees may hold anything: their V becomes zero, since 0 * NaN would reach the sums.
template <int kDim>
__device__ inline void fetch(const TileWork& work, const AttentionTile& tile, const std::uint32_t* pages, std::uint32_t block,
                             std::uint32_t kv_head, unsigned char* stage) {
  constexpr std::uint32_t kChunks = kDim / 8;  // of 16 bytes
  const std::uint32_t page = pages[block];
  const __half* keys = work.first_keys(tile, kv_head, kDim) + std::size_t{block} * work.key_stride(kDim);
  const bf16* values = work.first_values(kv_head) + std::size_t{page} * work.page_stride(kDim);
  const std::uint32_t slots = static_cast<std::uint32_t>(tile.visible) - block * kSlots;
  // The second form is the first for any kChunks; the compiler cannot fold its constants.
  constexpr bool kEven = kThreads % kChunks == 0, kWhole = kSlots * kChunks % kThreads == 0;
#pragma unroll
  for (std::uint32_t i = 0; i < (kSlots * kChunks + kThreads - 1) / kThreads; ++i) {
    const std::uint32_t chunk = threadIdx.x + i * kThreads;
    if (!kWhole && chunk >= kSlots * kChunks) break;
    const std::uint32_t row = kEven ? threadIdx.x / kChunks + i * (kThreads / kChunks) : chunk / kChunks;
    unsigned char* to = stage + row * Layout<kDim>::kRow + (kEven ? threadIdx.x : chunk) % kChunks * 16;
    copy_async(to, keys + threadIdx.x * 8 + i * kThreads * 8, true);
    copy_async(to + Layout<kDim>::kValues, values + threadIdx.x * 8 + i * kThreads * 8, row < slots);
  }
  if (work.arguments.grouped && threadIdx.x < kSlots / 4) {
    copy_async(stage + Layout<kDim>::kGroups + threadIdx.x * 16, work.kv.groups + page * kSlots + threadIdx.x * 4, true);
  }
  copy_async_commit();
}

// scores (base 2) += Q K^T of the warp's queries and 64 keys.
template <int kDim>
__device__ inline void multiply_keys(const std::uint32_t (&q)[kDim / 16][4], const unsigned char* keys, float (&scores)[8][4]) {
  const std::uint32_t lane = threadIdx.x % kWarp;
  const unsigned char* row = keys + (lane / 16 * 8 + lane % 8) * Layout<kDim>::kRow + lane / 8 % 2 * 16;
  // Eight sums side by side: products of one sum wait for each other.
#pragma unroll
  for (int k = 0; k < kDim / 16; ++k) {
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      std::uint32_t b[4];
      ldmatrix(b, row + n * 16 * Layout<kDim>::kRow + k * 32);
      mma_f16(scores[2 * n], q[k], {b[0], b[1]});
      mma_f16(scores[2 * n + 1], q[k], {b[2], b[3]});
    }
  }
}

// acc += weights V for 64 slots.
template <int kDim>
__device__ inline void multiply_values(const float (&weights)[8][4], const unsigned char* values, float (&acc)[kDim / 8][4]) {
  const std::uint32_t lane = threadIdx.x % kWarp;
  const unsigned char* row = values + lane % 16 * Layout<kDim>::kRow + lane / 16 * 16;
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    std::uint32_t a[4];
    pack_weights(weights[2 * k], weights[2 * k + 1], a);
#pragma unroll
    for (int n = 0; n < kDim / 16; ++n) {
      std::uint32_t b[4];
      ldmatrix_transposed(b, row + k * 16 * Layout<kDim>::kRow + n * 32);
      mma_bf16(acc[2 * n], a, {b[0], b[1]});
      mma_bf16(acc[2 * n + 1], a, {b[2], b[3]});
    }
  }
}

// Block (head, tile): 128 queries of a head, a warp sixteen. Tiles are taken from the last, which in causal prefill sees most, to the
// first. The limit is shared memory: a warp reads all of K and V for its sixteen rows, 128 bytes a cycle make 470 TFLOP/s at most on an
// H100.
template <int kDim>
__global__ void __launch_bounds__(kThreads, 1) attend_tile(TileWork work) {
  GS_DYNAMIC_SHARED(shared);
  let_next_start();
  wait_for_previous();
  const AttentionTile& tile = work.tiles[gridDim.y - 1 - blockIdx.y];
  const std::uint32_t head = blockIdx.x, kv_head = head / (work.arguments.heads / work.kv.kv_heads);
  const std::uint32_t warp = threadIdx.x / kWarp;
  const std::uint32_t blocks = (static_cast<std::uint32_t>(tile.visible) + kSlots - 1) / kSlots;
  const std::uint32_t* pages = work.step.page_table + static_cast<std::size_t>(tile.sequence) * work.step.table_stride;
  unsigned char* marks = shared + Layout<kDim>::kMarks;
  const bool grouped = work.arguments.grouped;
  if (grouped) {
    mark_blocks<kWarps>(tile, work.step, work.kv, pages, blocks, marks);
    __syncthreads();
  }
  const auto next_block = [&](std::uint32_t block) {
    while (grouped && block < blocks && marks[block] == kHidden) ++block;
    return block;
  };
  std::uint32_t block = next_block(0);
  if (block < blocks) fetch<kDim>(work, tile, pages, block, kv_head, shared);

  std::uint32_t q[kDim / 16][4];
  const Queries queries = load_queries<kDim>(work, tile, head, q);
  const int least_visible = warp_least(min(queries.visible[0], queries.visible[1]));
  const int most_visible = warp_most(max(queries.visible[0], queries.visible[1]));

  float top[2] = {-INFINITY, -INFINITY}, sum[2] = {}, acc[kDim / 8][4] = {};
  std::uint32_t stage = 0;
  while (block < blocks) {
    copy_async_wait<0>();
    __syncthreads();  // the copies of all threads are there, and all are done with the other stage
    const std::uint32_t following = next_block(block + 1);
    if (following < blocks) fetch<kDim>(work, tile, pages, following, kv_head, shared + (stage ^ 1) * Layout<kDim>::kStage);
    const unsigned char* here = shared + stage * Layout<kDim>::kStage;
    const int first_slot = static_cast<int>(block * kSlots);
    if (warp * 16 < static_cast<std::uint32_t>(tile.rows) && first_slot < most_visible) {
      float scores[8][4] = {};
      multiply_keys<kDim>(q, here, scores);
      const bool mixed = grouped && marks[block] == kMixed;
      if (mixed || first_slot + static_cast<int>(kSlots) > least_visible) {
        hide(queries, first_slot, mixed ? here + Layout<kDim>::kGroups : nullptr, scores);
      }
      float factors[2];
      weigh(scores, top, sum, factors);
      scale(factors, acc);
      multiply_values<kDim>(scores, here + Layout<kDim>::kValues, acc);
    }
    block = following;
    stage ^= 1;
  }

  write_results<kDim>(work, tile, head, sum, acc);
}

template <int kDim>
void launch_tiles(Stream stream, const TileWork& work, std::uint32_t tile_count) {
  const std::size_t shared = Layout<kDim>::kMarks + (work.arguments.grouped ? work.step.table_stride : 0);
  allow_shared_memory(attend_tile<kDim>, shared);
  launch_overlapped(attend_tile<kDim>, dim3(work.arguments.heads, tile_count), dim3(kThreads), shared, stream, work);
}

}  // namespace

bool has_attention_variant(int variant, std::uint32_t head_dim) {
  return variant != kWarpgroupAttention || (has_warpgroups() && (head_dim == 64 || head_dim == 128));
}

void attention_variant(Stream stream, int variant, const AttentionArguments& arguments, const StepView& step, const AttentionTile* tiles,
                       std::uint32_t tile_count, const KvView& kv, const __half* keys) {
  GS_CHECK(arguments.q_half != nullptr && arguments.heads % kv.kv_heads == 0 && tile_count <= 65535);
  if (tile_count == 0) return;
  const TileWork work{arguments, step, kv, tiles, keys};
  if (variant == kWarpgroupAttention) {
    GS_CHECK(kv.head_dim == 64 || kv.head_dim == 128);
    if (kv.head_dim == 64) return launch_warpgroup_attention<64>(stream, work, tile_count);
    return launch_warpgroup_attention<128>(stream, work, tile_count);
  }
  switch (kv.head_dim) {
    case 16:
      return launch_tiles<16>(stream, work, tile_count);
    case 32:
      return launch_tiles<32>(stream, work, tile_count);
    case 48:
      return launch_tiles<48>(stream, work, tile_count);
    case 64:
      return launch_tiles<64>(stream, work, tile_count);
    case 80:
      return launch_tiles<80>(stream, work, tile_count);
    case 96:
      return launch_tiles<96>(stream, work, tile_count);
    case 112:
      return launch_tiles<112>(stream, work, tile_count);
    case 128:
      return launch_tiles<128>(stream, work, tile_count);
    default:
      GS_CHECK(!"attention_tiles: head_dim is no multiple of 16 up to 128");
  }
}

void attention_tiles(Stream stream, const AttentionArguments& arguments, const StepView& step, const AttentionTile* tiles,
                     std::uint32_t tile_count, const KvView& kv, const __half* keys) {
  const int variant = has_attention_variant(kWarpgroupAttention, kv.head_dim) ? kWarpgroupAttention : 0;
  attention_variant(stream, variant, arguments, step, tiles, tile_count, kv, keys);
}

}  // namespace gritstone::cuda
