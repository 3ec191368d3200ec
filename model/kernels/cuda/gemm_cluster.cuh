// The product of many rows with bf16 weights on Hopper: blocks that stay, in pairs, and take one tile after another.
//
// A pair multiplies up to 2 x 192 rows of x with 256 rows of W, a warpgroup 64 rows of x. A block loads its rows of x by cp.async, since
// those of experts are gathered, and half of W's rows by the copy engine to both blocks at once: per step of 64 columns and 6.3 MFLOP it so
// reads 40 KiB of the second-level cache instead of 56, at 650 TFLOP/s over 132 multiprocessors 4.2 TB/s instead of 5.9, which is near the
// cache's limit. While results are written the next tile's steps are on their way: a tile of 2,048 columns takes 37 us of multiplying at
// 720 TFLOP/s, filling and emptying a pipeline alone 5 us.
//
// Tiles differ in rows, so they are drawn from a counter: the first warp of the pair's first block finds the next ones and tells both
// blocks. The sums of sixteen columns may round otherwise than mma.sync's: not for deterministic mode.
#pragma once

#include "model/kernels/cuda/cluster.cuh"
#include "model/kernels/cuda/gemm_tile.cuh"
#include "model/kernels/cuda/tensor_map.h"
#include "model/kernels/cuda/wgmma.cuh"

namespace gritstone::cuda {

struct ClusterWork {
  GemmWork gemm;
  CUtensorMap weights;    // boxes of kBoxRows rows
  std::uint32_t* ticket;  // the next tile to take, 0 at the start; null: pairs take every so many-th
};

struct ClusterShape {
  static constexpr std::uint32_t kPair = 2;    // blocks
  static constexpr std::uint32_t kGroups = 3;  // warpgroups of a block
  static constexpr std::uint32_t kThreads = 128 * kGroups, kWarps = kThreads / kWarp;
  static constexpr std::uint32_t kGroupRows = 64, kRows = kGroups * kGroupRows, kUnits = kPair * kGroups;
  static constexpr std::uint32_t kOutputs = 256, kBoxRows = kOutputs / kPair;
  static constexpr std::uint32_t kStages = 4, kAhead = kStages - 1;
  static constexpr std::uint32_t kItems = 8;  // tiles that may be known and not yet seen by all
  static constexpr std::uint32_t kItemsAhead = kAhead + 1;
  static constexpr std::uint32_t kRowBytes = kRows * kDepth * 2, kBoxBytes = kBoxRows * kDepth * 2;
  static constexpr std::uint32_t kStageBytes = kRowBytes + kPair * kBoxBytes;
};

// What lies in shared memory behind the stages.
struct ClusterState {
  Barrier full[ClusterShape::kStages];   // x and W are there
  Barrier empty[ClusterShape::kStages];  // both blocks have multiplied with it
  Barrier item_full[ClusterShape::kItems];
  Barrier item_empty[ClusterShape::kItems];  // the first block's is used
  uint4 items[ClusterShape::kItems];
  std::uint32_t rows[ClusterShape::kRows];  // where the rows that are loaded begin in x, in 16 bytes
};
inline constexpr std::uint32_t kClusterAlign = 1024;
inline constexpr std::uint32_t kClusterSharedBytes =
    ClusterShape::kStages * ClusterShape::kStageBytes + sizeof(ClusterState) + kClusterAlign;
static_assert(kClusterSharedBytes <= 227 << 10);

// A tile of a pair: rows [row, row + first_rows + second_rows) of the result, the first block's before the second's.
struct ClusterItem {
  static constexpr std::uint32_t kNone = 0xFFFFFFFFu;
  std::uint32_t expert, row, first_rows, second_rows, output;

  __device__ uint4 packed() const { return make_uint4(expert, row, first_rows | second_rows << 16, output); }
  __device__ static ClusterItem unpacked(uint4 x) { return {x.x, x.y, x.z & 0xFFFF, x.z >> 16, x.w}; }
  __device__ std::uint32_t own_row(std::uint32_t rank) const { return row + (rank == 0 ? 0 : first_rows); }
  __device__ std::uint32_t own_rows(std::uint32_t rank) const { return rank == 0 ? first_rows : second_rows; }
};

// Row tiles of so many rows.
struct ClusterRowTiles {
  __host__ __device__ static std::uint32_t units(std::uint32_t rows) {
    return (rows + ClusterShape::kGroupRows - 1) / ClusterShape::kGroupRows;
  }
  __host__ __device__ std::uint32_t operator()(std::uint32_t rows) const {
    return (units(rows) + ClusterShape::kUnits - 1) / ClusterShape::kUnits;
  }
};

// Tile `index` in the order of find_place (gemm_tile.cuh); a whole warp asks. The rows of an expert are shared out evenly, in groups of 64.
__device__ inline ClusterItem find_item(const GemmWork& work, std::uint32_t index) {
  constexpr std::uint32_t kBand = 8;
  const std::uint32_t column_tiles = (work.w.rows + ClusterShape::kOutputs - 1) / ClusterShape::kOutputs;
  const std::uint32_t row_tiles =
      work.offsets == nullptr ? ClusterRowTiles()(work.rows) : count_tiles(work.offsets, work.w.experts, ClusterRowTiles());
  if (index >= row_tiles * column_tiles) return {ClusterItem::kNone, 0, 0, 0, 0};
  const std::uint32_t band = index / (row_tiles * kBand), in_band = index % (row_tiles * kBand);
  const std::uint32_t width = min(kBand, column_tiles - band * kBand);
  ExpertTile tile = {0, in_band / width, 0, work.rows};
  if (work.offsets != nullptr) find_expert(work.offsets, work.w.experts, ClusterRowTiles(), in_band / width, tile);
  const std::uint32_t units = ClusterRowTiles::units(tile.rows), tiles = ClusterRowTiles()(tile.rows);
  const std::uint32_t begin = units * tile.index / tiles, end = units * (tile.index + 1) / tiles;
  const std::uint32_t rows = min(end * ClusterShape::kGroupRows, tile.rows) - begin * ClusterShape::kGroupRows;
  const std::uint32_t first = min((end - begin + 1) / 2 * ClusterShape::kGroupRows, rows);
  return {tile.expert, tile.row + begin * ClusterShape::kGroupRows, first, rows - first,
          (band * kBand + in_band % width) * ClusterShape::kOutputs};
}

// Place and parity of the n-th use of a ring.
template <std::uint32_t kPlaces>
struct RingPlace {
  std::uint32_t place, parity;
  __device__ explicit RingPlace(std::uint32_t n) : place(n % kPlaces), parity(n / kPlaces % 2) {}
};

// The n-th tile. forget: this warp will not ask for it again.
__device__ inline ClusterItem read_item(ClusterState& state, std::uint32_t n, bool forget) {
  const RingPlace<ClusterShape::kItems> ring(n);
  barrier_wait(&state.item_full[ring.place], ring.parity);
  const uint4 packed = state.items[ring.place];
  if (forget) {
    if (threadIdx.x == 0) barrier_arrive_expecting(&state.item_full[ring.place], sizeof(packed));
    __syncwarp();
    if (threadIdx.x % kWarp == 0) barrier_arrive_at(0, &state.item_empty[ring.place]);
  }
  return ClusterItem::unpacked(packed);
}

// One warp of the pair finds the n-th tile and tells both blocks.
__device__ inline void publish_item(const ClusterWork& work, ClusterState& state, std::uint32_t n) {
  const RingPlace<ClusterShape::kItems> ring(n);
  const bool first_lane = threadIdx.x % kWarp == 0;
  std::uint32_t index = blockIdx.x / ClusterShape::kPair + n * (gridDim.x / ClusterShape::kPair);
  if (work.ticket != nullptr) {
    if (first_lane) index = atomicAdd(work.ticket, 1u);
    index = __shfl_sync(kAllLanes, index, 0);
  }
  const uint4 packed = find_item(work.gemm, index).packed();
  if (!first_lane) return;
  barrier_wait(&state.item_empty[ring.place], ring.parity ^ 1);
  for (std::uint32_t rank = 0; rank < ClusterShape::kPair; ++rank)
    store_at(rank, &state.items[ring.place], packed, &state.item_full[ring.place]);
}

// A thread's part in the loads: steps of all tiles one after another. kGathered: x's rows are those of the pairs.
template <bool kGathered>
class ClusterLoads {
 public:
  __device__ ClusterLoads(const ClusterWork& work, unsigned char* stages, ClusterState& state, std::uint32_t steps)
      : work_(work), stages_(stages), state_(state), steps_(steps) {}

  // Starts the copies of a step (counted over all tiles), when its stage is free.
  __device__ void start(std::uint32_t count) {
    using S = ClusterShape;
    if (step_ == 0) begin_item();
    if (rows_ != kNoRows) {
      const RingPlace<S::kStages> ring(count);
      unsigned char* const stage = stages_ + ring.place * S::kStageBytes;
      barrier_wait(&state_.empty[ring.place], ring.parity ^ 1);
      if (threadIdx.x == 0) copy_weights(stage, &state_.full[ring.place]);
      copy_rows(stage);
      if (++step_ == steps_) step_ = 0;
    }
    copy_async_commit();
  }

 private:
  static constexpr std::uint32_t kNoRows = 0xFFFFFFFFu;
  static constexpr std::uint32_t kRowsApart = ClusterShape::kThreads / kChunks;
  static_assert(kRowsApart % 8 == 0 && ClusterShape::kRows % kRowsApart == 0);

  __device__ std::uint32_t in_row() const { return work_.gemm.w.cols / 8; }

  __device__ void begin_item() {
    if (rows_ == kNoRows) return;
    const std::uint32_t rank = cluster_rank();
    const ClusterItem item = read_item(state_, item_++, false);
    if (item.expert == ClusterItem::kNone) {
      rows_ = kNoRows;
      return;
    }
    row_ = item.own_row(rank);
    rows_ = item.own_rows(rank);
    weight_row_ = item.expert * work_.gemm.w.rows + item.output + rank * ClusterShape::kBoxRows;
    if constexpr (kGathered) {
      // Only threads of this warp read what it writes.
      __syncwarp();
      if (threadIdx.x % kChunks == 0) {
        for (std::uint32_t r = threadIdx.x / kChunks; r < rows_; r += kRowsApart) {
          state_.rows[r] = static_cast<std::uint32_t>(work_.gemm.row_of_pair[row_ + r]) * in_row();
        }
      }
      __syncwarp();
    }
  }

  __device__ void copy_weights(unsigned char* stage, Barrier* full) const {
    using S = ClusterShape;
    barrier_arrive_expecting(full, S::kPair * S::kBoxBytes);
    copy_box(stage + S::kRowBytes + cluster_rank() * S::kBoxBytes, &work_.weights, weight_row_, step_ * kDepth, full, (1u << S::kPair) - 1);
  }

  // Zeros beyond the last row and column, nothing for warpgroups without rows.
  __device__ void copy_rows(unsigned char* stage) const {
    const std::uint32_t own = threadIdx.x / kChunks, chunk = threadIdx.x % kChunks, column = step_ * kChunks + chunk;
    const std::uint32_t filled = ClusterRowTiles::units(rows_) * ClusterShape::kGroupRows;
    unsigned char* const to = stage + place_of(own, chunk);
#pragma unroll
    for (std::uint32_t i = 0; i < ClusterShape::kRows / kRowsApart; ++i) {
      const std::uint32_t r = own + i * kRowsApart;
      if (r >= filled) break;
      const bool valid = (r < rows_) & (column < in_row());
      const std::uint32_t from = !valid ? 0 : (kGathered ? state_.rows[r] : (row_ + r) * in_row()) + column;
      copy_async(to + i * kRowsApart * kDepth * 2, reinterpret_cast<const uint4*>(work_.gemm.x) + from, valid);
    }
  }

  const ClusterWork& work_;
  unsigned char* const stages_;
  ClusterState& state_;
  const std::uint32_t steps_;
  std::uint32_t item_ = 0, step_ = 0;  // that is loaded next
  std::uint32_t row_ = 0, rows_ = 0, weight_row_ = 0;
};

template <Epilogue kEpilogue>
__device__ void multiply_tiles(const ClusterWork& work, unsigned char* stages, ClusterState& state) {
  using S = ClusterShape;
  const std::uint32_t rank = cluster_rank(), warp = threadIdx.x / kWarp, group_row = warp / 4 * S::kGroupRows;
  const std::uint32_t steps = (work.gemm.w.cols + kDepth - 1) / kDepth;
  const bool first_lane = threadIdx.x % kWarp == 0, publishes = rank == 0 && warp == 0;
  ClusterLoads<kEpilogue == Epilogue::kSwiGlu> loads(work, stages, state, steps);
  const auto arrive = [&](std::uint32_t count) {
    copy_async_wait<S::kAhead - 1>();
    wgmma_fence_shared();
    __syncwarp();
    const RingPlace<S::kStages> ring(count);
    if (first_lane) barrier_arrive(&state.full[ring.place]);
    barrier_wait(&state.full[ring.place], ring.parity);
  };
  const auto release = [&](std::uint32_t count) {
    // A warp of the group for each block.
    if (first_lane && warp % 4 < S::kPair) barrier_arrive_at(warp % 4, &state.empty[count % S::kStages]);
  };
  for (std::uint32_t n = 0; publishes && n < S::kItemsAhead; ++n) publish_item(work, state, n);
#pragma unroll 1
  for (std::uint32_t count = 0; count < S::kAhead; ++count) loads.start(count);
  std::uint32_t count = 0;  // of steps so far
#pragma unroll 1
  for (std::uint32_t n = 0;; ++n) {
    const ClusterItem item = read_item(state, n, true);
    if (item.expert == ClusterItem::kNone) return;
    const std::uint32_t rows = item.own_rows(rank);
    if (group_row >= rows) {  // the group only helps with the loads
#pragma unroll 1
      for (std::uint32_t step = 0; step < steps; ++step, ++count) {
        arrive(count);
        release(count);
        if (publishes && step == 0) publish_item(work, state, n + S::kItemsAhead);
        loads.start(count + S::kAhead);
      }
      continue;
    }
    float sums[1][32][4] = {};
#pragma unroll 1
    for (std::uint32_t step = 0; step < steps; ++step, ++count) {
      arrive(count);
      const unsigned char* const stage = stages + count % S::kStages * S::kStageBytes;
      wgmma_begin();
#pragma unroll
      for (std::uint32_t k = 0; k < kDepth * 2; k += 32) {
        wgmma_64x256<HalfType::kBF16>(sums[0], stage + group_row * kDepth * 2 + k, stage + S::kRowBytes + k);
      }
      wgmma_commit();
      wgmma_wait<1>();
      if (step > 0) release(count - 1);
      if (publishes && step == 0) publish_item(work, state, n + S::kItemsAhead);
      loads.start(count + S::kAhead);
    }
    wgmma_wait<0>();
    release(count - 1);
    const std::uint32_t warp_row = warp * 16;
    if (warp_row >= rows) continue;
    write_sums<kEpilogue>(work.gemm.out, std::size_t{item.own_row(rank)} + warp_row, static_cast<std::int32_t>(rows - warp_row),
                          item.output, sums);
  }
}

template <Epilogue kEpilogue>
__global__ void __launch_bounds__(ClusterShape::kThreads, 1) gemm_cluster_kernel(const __grid_constant__ ClusterWork work) {
  using S = ClusterShape;
  GS_DYNAMIC_SHARED(memory);
  unsigned char* const stages = memory + (kClusterAlign - reinterpret_cast<std::uintptr_t>(memory) % kClusterAlign) % kClusterAlign;
  ClusterState& state = *reinterpret_cast<ClusterState*>(stages + S::kStages * S::kStageBytes);
  if (threadIdx.x == 0) {
    for (Barrier& barrier : state.full) barrier_init(&barrier, S::kWarps + 1);
    for (Barrier& barrier : state.empty) barrier_init(&barrier, S::kPair * S::kGroups);
    for (Barrier& barrier : state.item_full) {
      barrier_init(&barrier, 1);
      barrier_arrive_expecting(&barrier, sizeof(uint4));
    }
    for (Barrier& barrier : state.item_empty) barrier_init(&barrier, S::kPair * S::kWarps);
    barriers_are_ready();
  }
  cluster_sync();
  multiply_tiles<kEpilogue>(work, stages, state);
  cluster_sync();  // nobody reaches into the shared memory of a block that is gone
}

// bf16 weights only. most_row_tiles: of a pair, as ClusterRowTiles counts them.
template <Epilogue kEpilogue>
void launch_gemm_cluster(Stream stream, const GemmWork& work, std::uint32_t most_row_tiles, std::uint32_t* ticket) {
  using S = ClusterShape;
  GS_CHECK(work.w.format == WeightFormat::kBF16);
  const ClusterWork full{work, tensor_map(work.w.values, std::uint64_t{work.w.experts} * work.w.rows, work.w.cols, S::kBoxRows), ticket};
  const std::size_t pairs = static_cast<std::size_t>(device_properties().multiProcessorCount) / S::kPair;
  const std::size_t tiles = most_row_tiles * ceil_div(work.w.rows, S::kOutputs);
  const auto kernel = gemm_cluster_kernel<kEpilogue>;
  allow_shared_memory(kernel, kClusterSharedBytes);
  launch_clusters(kernel, dim3(static_cast<unsigned>(S::kPair * std::min(pairs, tiles))), dim3(S::kThreads), S::kPair, kClusterSharedBytes,
                  stream, full);
}

}  // namespace gritstone::cuda
