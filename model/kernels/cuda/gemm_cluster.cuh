// The product of many rows with bf16 weights on Hopper: blocks that stay, in pairs, and take one tile after another.
//
// A pair multiplies up to 2 x 128 rows of x with 256 rows of W. In each block two warpgroups multiply, 64 rows of x each, and a third one
// loads: x by cp.async, since the rows of experts are gathered, and half of W's rows by the copy engine to both blocks at once. Per step of
// 64 columns and 4.2 MFLOP a block so reads 32 KiB of the second-level cache instead of 48, at 700 TFLOP/s over 132 multiprocessors 5.5
// TB/s instead of 8.2. While results are written the next tile's steps are on their way: a tile of 2,048 columns takes 25 us of multiplying
// at 720 TFLOP/s, filling and emptying a pipeline alone 5 us.
//
// Tiles differ in rows, so they are drawn from a counter: the first warp that loads in the pair's first block finds the next ones and tells
// both blocks. The sums of sixteen columns may round otherwise than mma.sync's: not for deterministic mode.
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
  static constexpr std::uint32_t kGroups = 2;  // warpgroups of a block that multiply
  static constexpr std::uint32_t kLoaders = 128, kMultipliers = 128 * kGroups, kThreads = kMultipliers + kLoaders;
  static constexpr std::uint32_t kGroupRows = 64, kRows = kGroups * kGroupRows, kUnits = kPair * kGroups;
  static constexpr std::uint32_t kOutputs = 256, kBoxRows = kOutputs / kPair;
  static constexpr std::uint32_t kStages = 4;
  static constexpr std::uint32_t kItems = 4;  // tiles that may be known and not yet seen by all
  static constexpr std::uint32_t kRowBytes = kRows * kDepth * 2, kBoxBytes = kBoxRows * kDepth * 2;
  static constexpr std::uint32_t kStageBytes = kRowBytes + kPair * kBoxBytes;
  static constexpr int kLoaderRegisters = 40, kMultiplierRegisters = 232;  // of 65,536 in a block
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

// The n-th tile, as every warp learns of it, once.
__device__ inline ClusterItem read_item(ClusterState& state, std::uint32_t n) {
  const RingPlace<ClusterShape::kItems> ring(n);
  barrier_wait(&state.item_full[ring.place], ring.parity);
  const uint4 packed = state.items[ring.place];
  if (threadIdx.x == 0) barrier_arrive_expecting(&state.item_full[ring.place], sizeof(packed));  // for the next in this place
  __syncwarp();
  if (threadIdx.x % kWarp == 0) barrier_arrive_at(0, &state.item_empty[ring.place]);
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

// The loaders of a block, thread 0 .. 127 of them. kGathered: x's rows are those of the pairs.
template <bool kGathered>
__device__ void load_tiles(const ClusterWork& work, unsigned char* stages, ClusterState& state, std::uint32_t thread) {
  using S = ClusterShape;
  constexpr std::uint32_t kRowsApart = S::kLoaders / kChunks;
  static_assert(kRowsApart % 8 == 0 && S::kGroupRows % kRowsApart == 0);
  const std::uint32_t rank = cluster_rank(), own_row = thread / kChunks, chunk = thread % kChunks;
  const std::uint32_t in_row = work.gemm.w.cols / 8, steps = (work.gemm.w.cols + kDepth - 1) / kDepth;
  const bool publishes = rank == 0 && thread < kWarp;
  if (publishes) publish_item(work, state, 0);
  std::uint32_t count = 0;  // of steps so far
#pragma unroll 1
  for (std::uint32_t n = 0;; ++n) {
    if (publishes) publish_item(work, state, n + 1);
    const ClusterItem item = read_item(state, n);
    if (item.expert == ClusterItem::kNone) return;
    const std::uint32_t row = item.own_row(rank), rows = item.own_rows(rank);
    const std::uint32_t filled = ClusterRowTiles::units(rows) * S::kGroupRows;  // nothing for warpgroups without rows
    if constexpr (kGathered) {
      // Only threads of this warp read what it writes.
      for (std::uint32_t r = own_row; chunk == 0 && r < rows; r += kRowsApart) {
        state.rows[r] = static_cast<std::uint32_t>(work.gemm.row_of_pair[row + r]) * in_row;
      }
      __syncwarp();
    }
    const std::uint32_t weight_row = item.expert * work.gemm.w.rows + item.output + rank * S::kBoxRows;
#pragma unroll 1
    for (std::uint32_t step = 0; step < steps; ++step, ++count) {
      const RingPlace<S::kStages> ring(count);
      unsigned char* const stage = stages + ring.place * S::kStageBytes;
      Barrier* const full = &state.full[ring.place];
      barrier_wait(&state.empty[ring.place], ring.parity ^ 1);
      if (thread == 0) {
        barrier_arrive_expecting(full, S::kPair * S::kBoxBytes);
        copy_box(stage + S::kRowBytes + rank * S::kBoxBytes, &work.weights, weight_row, step * kDepth, full, (1u << S::kPair) - 1);
      }
      // Zeros beyond the last row and column.
      const std::uint32_t column = step * kChunks + chunk;
      unsigned char* const to = stage + place_of(own_row, chunk);
#pragma unroll
      for (std::uint32_t i = 0; i < S::kRows / kRowsApart; ++i) {
        const std::uint32_t r = own_row + i * kRowsApart;
        if (i * kRowsApart >= filled) break;
        const bool valid = (r < rows) & (column < in_row);
        const std::uint32_t from = !valid ? 0 : (kGathered ? state.rows[r] : (row + r) * in_row) + column;
        copy_async(to + i * kRowsApart * kDepth * 2, reinterpret_cast<const uint4*>(work.gemm.x) + from, valid);
      }
      barrier_arrive_after_copies(full);
    }
    __syncwarp();
  }
}

// A warpgroup that multiplies, 0 .. kGroups - 1 of its block.
template <Epilogue kEpilogue>
__device__ void multiply_tiles(const ClusterWork& work, const unsigned char* stages, ClusterState& state, std::uint32_t group) {
  using S = ClusterShape;
  const std::uint32_t rank = cluster_rank(), warp = threadIdx.x / kWarp % 4, group_row = group * S::kGroupRows;
  const std::uint32_t steps = (work.gemm.w.cols + kDepth - 1) / kDepth;
  const bool releases = threadIdx.x % kWarp == 0 && warp < S::kPair;  // a warp for each block
  const auto arrive = [&](std::uint32_t count) {
    const RingPlace<S::kStages> ring(count);
    barrier_wait(&state.full[ring.place], ring.parity);
    wgmma_fence_shared();
  };
  const auto release = [&](std::uint32_t count) {
    if (releases) barrier_arrive_at(warp, &state.empty[count % S::kStages]);
  };
  std::uint32_t count = 0;  // of steps so far
#pragma unroll 1
  for (std::uint32_t n = 0;; ++n) {
    const ClusterItem item = read_item(state, n);
    if (item.expert == ClusterItem::kNone) return;
    const std::uint32_t rows = item.own_rows(rank);
    if (group_row >= rows) {
#pragma unroll 1
      for (std::uint32_t step = 0; step < steps; ++step, ++count) {
        arrive(count);
        release(count);
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
    }
    wgmma_wait<0>();
    release(count - 1);
    const std::uint32_t warp_row = group_row + warp * 16;
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
    for (Barrier& barrier : state.full) barrier_init(&barrier, S::kLoaders + 1);
    for (Barrier& barrier : state.empty) barrier_init(&barrier, S::kPair * S::kGroups);
    for (Barrier& barrier : state.item_full) {
      barrier_init(&barrier, 1);
      barrier_arrive_expecting(&barrier, sizeof(uint4));
    }
    for (Barrier& barrier : state.item_empty) barrier_init(&barrier, S::kPair * S::kThreads / kWarp);
    barriers_are_ready();
  }
  cluster_sync();
  if (threadIdx.x < S::kMultipliers) {
    registers_up<S::kMultiplierRegisters>();
    multiply_tiles<kEpilogue>(work, stages, state, threadIdx.x / 128);
  } else {
    registers_down<S::kLoaderRegisters>();
    load_tiles<kEpilogue == Epilogue::kSwiGlu>(work, stages, state, threadIdx.x - S::kMultipliers);
  }
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
