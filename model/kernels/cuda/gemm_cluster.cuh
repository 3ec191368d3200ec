// The product of many rows with bf16 weights on Hopper: blocks that stay, in pairs, and take one tile after another.
//
// A pair multiplies 2 x 128 rows of x with 256 rows of W. In each block two warpgroups multiply, 64 rows of x each, and a third one loads:
// x by cp.async, since the rows of experts are gathered, and half of W's rows by the copy engine to both blocks at once. Per step of 64
// columns and 4.2 MFLOP a block so reads 32 KiB of the second-level cache instead of 48, at 700 TFLOP/s over 132 multiprocessors 5.5 TB/s
// instead of 8.2. While results are written the next tile's steps are on their way. Sustained, power is the limit: an H100 lowers its clock
// to 1.6 GHz here (ncu).
//
// What is left of an expert's rows, fewer than 256, would fill a pair badly: there both blocks take the same rows, 128 or 64, and each its
// own 256 rows of W. Tiles differ, so they are drawn from a counter: a warp of the pair's first block finds the next ones and tells both
// blocks. The sums of sixteen columns may round otherwise than mma.sync's: not for deterministic mode.
#pragma once

#include <algorithm>

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
  static constexpr std::uint32_t kMultipliers = 128 * kGroups, kThreads = kMultipliers + 128;
  static constexpr std::uint32_t kGroupRows = 64, kRows = kGroups * kGroupRows, kUnits = kPair * kGroups;
  static constexpr std::uint32_t kOutputs = 256, kBoxRows = kOutputs / kPair;
  static constexpr std::uint32_t kStages = 4;
  static constexpr std::uint32_t kItems = 4;  // tiles that may be known and not yet seen by all
  static constexpr std::uint32_t kRowBytes = kRows * kDepth * 2, kBoxBytes = kBoxRows * kDepth * 2;
  static constexpr std::uint32_t kStageBytes = kRowBytes + kPair * kBoxBytes;
  static constexpr int kLoaderRegisters = 80, kMultiplierRegisters = 208;  // of 65,536 in a block
  // The third warpgroup: a warp for each group's rows of x, one for W, one for the tiles to come.
  static constexpr std::uint32_t kWeightWarp = kGroups, kItemWarp = kGroups + 1;
  static constexpr std::uint32_t kReaders = kPair * (kMultipliers / kWarp + kGroups + 1);  // warps that must see a tile
};

// What lies in shared memory behind the stages.
struct ClusterState {
  Barrier full[ClusterShape::kStages];   // x and W are there
  Barrier empty[ClusterShape::kStages];  // both blocks have multiplied with it
  Barrier item_full[ClusterShape::kItems];
  Barrier item_empty[ClusterShape::kItems];  // the first block's is used
  uint4 items[ClusterShape::kItems];
  std::uint32_t rows[ClusterShape::kRows];  // where the rows that are loaded begin in x, in 16 bytes
  alignas(16) unsigned char results[ClusterShape::kMultipliers / kWarp][kResultBytes];  // of a warp, on their way out
};
inline constexpr std::uint32_t kClusterAlign = 1024;
inline constexpr std::uint32_t kClusterSharedBytes =
    ClusterShape::kStages * ClusterShape::kStageBytes + sizeof(ClusterState) + kClusterAlign;
static_assert(kClusterSharedBytes <= 227 << 10);

// A tile of a pair. Shared: rows [row, row + first_rows + second_rows) of the result, the first block's before the second's, and one column
// tile. Else: the same rows for both blocks (second_rows 0: only the first) and two column tiles.
struct ClusterItem {
  static constexpr std::uint32_t kNone = 0xFFFFFFFFu;
  std::uint32_t expert, row, first_rows, second_rows, output;
  bool shared;

  __device__ uint4 packed() const { return make_uint4(expert, row, first_rows | second_rows << 12 | (shared ? 1u << 24 : 0u), output); }
  __device__ static ClusterItem unpacked(uint4 x) { return {x.x, x.y, x.z & 0xFFF, x.z >> 12 & 0xFFF, x.w, (x.z >> 24) != 0}; }
  __device__ std::uint32_t own_row(std::uint32_t rank) const { return row + (shared && rank == 1 ? first_rows : 0); }
  __device__ std::uint32_t own_rows(std::uint32_t rank) const { return rank == 0 ? first_rows : second_rows; }
  __device__ std::uint32_t own_output(std::uint32_t rank) const { return output + (shared ? 0 : rank * ClusterShape::kOutputs); }
};

// How rows make tiles, for every two column tiles: 256 rows two shared ones (one for each column tile), of what is left 128 rows and the
// last 64 one each. Counted in units of 64 rows.
struct ClusterRowTiles {
  __host__ __device__ static std::uint32_t units(std::uint32_t rows) {
    return (rows + ClusterShape::kGroupRows - 1) / ClusterShape::kGroupRows;
  }
  __host__ __device__ std::uint32_t operator()(std::uint32_t rows) const {
    const std::uint32_t left = units(rows) % ClusterShape::kUnits;
    return 2 * (units(rows) / ClusterShape::kUnits) + left / 2 + left % 2;
  }
};

// Tile `index` in the order of find_place (gemm_tile.cuh), a band being four pairs of column tiles; a whole warp asks.
__device__ inline ClusterItem find_item(const GemmWork& work, std::uint32_t index) {
  using S = ClusterShape;
  constexpr std::uint32_t kBand = 4;
  const std::uint32_t columns = (work.w.rows + 2 * S::kOutputs - 1) / (2 * S::kOutputs);
  const std::uint32_t row_tiles =
      work.offsets == nullptr ? ClusterRowTiles()(work.rows) : count_tiles(work.offsets, work.w.experts, ClusterRowTiles());
  if (index >= row_tiles * columns) return {ClusterItem::kNone, 0, 0, 0, 0, false};
  const std::uint32_t band = index / (row_tiles * kBand), in_band = index % (row_tiles * kBand);
  const std::uint32_t width = min(kBand, columns - band * kBand);
  ExpertTile tile = {0, in_band / width, 0, work.rows};
  if (work.offsets != nullptr) find_expert(work.offsets, work.w.experts, ClusterRowTiles(), in_band / width, tile);
  const std::uint32_t output = (band * kBand + in_band % width) * 2 * S::kOutputs;
  const std::uint32_t whole = ClusterRowTiles::units(tile.rows) / S::kUnits;
  if (tile.index < 2 * whole) {
    const std::uint32_t begin = tile.index / 2 * (S::kPair * S::kRows), rows = min(S::kPair * S::kRows, tile.rows - begin);
    const std::uint32_t own = output + tile.index % 2 * S::kOutputs;
    // An odd last column tile: nothing to do.
    const std::uint32_t first = own < work.w.rows ? S::kRows : 0;
    return {tile.expert, tile.row + begin, first, first == 0 ? 0 : rows - first, own, true};
  }
  const std::uint32_t begin = whole * (S::kPair * S::kRows) + (tile.index - 2 * whole) * S::kRows;
  const std::uint32_t rows = min(S::kRows, tile.rows - begin);
  return {tile.expert, tile.row + begin, rows, output + S::kOutputs < work.w.rows ? rows : 0, output, false};
}

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

// A warp of the pair's first block finds the tiles and tells both blocks.
__device__ inline void publish_items(const ClusterWork& work, ClusterState& state) {
  const bool first_lane = threadIdx.x % kWarp == 0;
  std::uint32_t index = blockIdx.x / ClusterShape::kPair;
#pragma unroll 1
  for (std::uint32_t n = 0;; ++n) {
    if (work.ticket != nullptr) {
      if (first_lane) index = atomicAdd(work.ticket, 1u);
      index = __shfl_sync(kAllLanes, index, 0);
    }
    const uint4 packed = find_item(work.gemm, index).packed();
    if (first_lane) {
      const RingPlace<ClusterShape::kItems> ring(n);
      barrier_wait(&state.item_empty[ring.place], ring.parity ^ 1);
      for (std::uint32_t rank = 0; rank < ClusterShape::kPair; ++rank) {
        store_at(rank, &state.items[ring.place], packed, &state.item_full[ring.place]);
      }
    }
    if (packed.x == ClusterItem::kNone) return;
    index += gridDim.x / ClusterShape::kPair;
  }
}

__device__ inline std::uint32_t steps_of(const ClusterWork& work) { return (work.gemm.w.cols + kDepth - 1) / kDepth; }

// A warp has the copy engine bring W.
__device__ inline void load_weights(const ClusterWork& work, unsigned char* stages, ClusterState& state) {
  using S = ClusterShape;
  const std::uint32_t rank = cluster_rank(), steps = steps_of(work);
  std::uint32_t count = 0;  // of steps so far
#pragma unroll 1
  for (std::uint32_t n = 0;; ++n) {
    const ClusterItem item = read_item(state, n);
    if (item.expert == ClusterItem::kNone) return;
    const std::uint32_t row = item.expert * work.gemm.w.rows + item.own_output(rank);
#pragma unroll 1
    for (std::uint32_t step = 0; step < steps; ++step, ++count) {
      const RingPlace<S::kStages> ring(count);
      unsigned char* const to = stages + ring.place * S::kStageBytes + S::kRowBytes;
      Barrier* const full = &state.full[ring.place];
      barrier_wait(&state.empty[ring.place], ring.parity ^ 1);
      if (threadIdx.x % kWarp != 0) continue;
      barrier_arrive_expecting(full, S::kPair * S::kBoxBytes);
#pragma unroll
      for (std::uint32_t box = 0; box < S::kPair; ++box) {
        if (item.shared && box != rank) continue;
        const std::uint32_t ranks = item.shared ? (1u << S::kPair) - 1 : 1u << rank;
        copy_box(to + box * S::kBoxBytes, &work.weights, row + box * S::kBoxRows, step * kDepth, full, ranks);
      }
    }
  }
}

// A warp brings the rows of x of a warpgroup. kGathered: they are those of the pairs, whose places it learns a tile ahead.
template <bool kGathered>
__device__ void load_rows(const ClusterWork& work, unsigned char* stages, ClusterState& state, std::uint32_t group) {
  using S = ClusterShape;
  constexpr std::uint32_t kRowsApart = kWarp / kChunks, kCopies = S::kGroupRows / kRowsApart, kLaneRows = S::kGroupRows / kWarp;
  const std::uint32_t rank = cluster_rank(), lane = threadIdx.x % kWarp, own_row = lane / kChunks, chunk = lane % kChunks;
  const std::uint32_t in_row = work.gemm.w.cols / 8, steps = steps_of(work);
  const uint4* const x = reinterpret_cast<const uint4*>(work.gemm.x);
  std::uint32_t* const places = state.rows + group * S::kGroupRows;
  std::uint32_t first = 0, rows = 0;    // of the group in this tile
  std::uint32_t pairs[kLaneRows] = {};  // row_of_pair of rows lane and lane + 32 of the next one
  ClusterItem next;
  const auto look_ahead = [&](std::uint32_t n) {
    next = read_item(state, n);
    const std::uint32_t all = next.own_rows(rank);
    first = next.own_row(rank) + group * S::kGroupRows;
    rows = all > group * S::kGroupRows ? min(all - group * S::kGroupRows, S::kGroupRows) : 0;
    if constexpr (kGathered) {
#pragma unroll
      for (std::uint32_t i = 0; i < kLaneRows; ++i) {
        if (lane + i * kWarp < rows) pairs[i] = static_cast<std::uint32_t>(work.gemm.row_of_pair[first + lane + i * kWarp]);
      }
    }
  };
  look_ahead(0);
  std::uint32_t count = 0;  // of steps so far
#pragma unroll 1
  for (std::uint32_t n = 0; next.expert != ClusterItem::kNone; ++n) {
    const std::uint32_t valid_rows = rows;
    std::uint32_t from[kCopies];  // in x, in 16 bytes
    if constexpr (kGathered) {
#pragma unroll
      for (std::uint32_t i = 0; i < kLaneRows; ++i) places[lane + i * kWarp] = pairs[i] * in_row;
      __syncwarp();
#pragma unroll
      for (std::uint32_t i = 0; i < kCopies; ++i) from[i] = places[own_row + i * kRowsApart] + chunk;
      __syncwarp();
    } else {
#pragma unroll
      for (std::uint32_t i = 0; i < kCopies; ++i) from[i] = (first + own_row + i * kRowsApart) * in_row + chunk;
    }
#pragma unroll 1
    for (std::uint32_t step = 0; step < steps; ++step, ++count) {
      const RingPlace<S::kStages> ring(count);
      unsigned char* const to = stages + ring.place * S::kStageBytes + group * S::kGroupRows * kDepth * 2;
      // Where the thread's chunks go: rows are four apart, and their places repeat after eight.
      unsigned char* const places_in_stage[2] = {to + place_of(own_row, chunk), to + place_of(own_row + kRowsApart, chunk)};
      const uint4* const column = x + step * kChunks;
      // Zeros beyond the last row and column. What is not read lies within x, or somewhere behind it.
      const std::uint32_t limit = step * kChunks + chunk < in_row ? valid_rows : 0;
      barrier_wait(&state.empty[ring.place], ring.parity ^ 1);
      if (valid_rows > 0) {
#pragma unroll
        for (std::uint32_t i = 0; i < kCopies; ++i) {
          copy_async(places_in_stage[i % 2] + i / 2 * 8 * kDepth * 2, column + from[i], own_row + i * kRowsApart < limit);
        }
      }
      barrier_arrive_after_copies(&state.full[ring.place]);
      if (step == 0) look_ahead(n + 1);
    }
  }
}

// A warpgroup that multiplies, 0 .. kGroups - 1 of its block.
template <Epilogue kEpilogue>
__device__ void multiply_tiles(const ClusterWork& work, const unsigned char* stages, ClusterState& state, std::uint32_t group) {
  using S = ClusterShape;
  const std::uint32_t rank = cluster_rank(), warp = threadIdx.x / kWarp % 4, group_row = group * S::kGroupRows, steps = steps_of(work);
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
    write_sums_by_rows<kEpilogue>(work.gemm.out, std::size_t{item.own_row(rank)} + warp_row, static_cast<std::int32_t>(rows - warp_row),
                                  item.own_output(rank), sums[0], state.results[threadIdx.x / kWarp]);
  }
}

template <Epilogue kEpilogue>
__global__ void __launch_bounds__(ClusterShape::kThreads, 1) gemm_cluster_kernel(const __grid_constant__ ClusterWork work) {
  using S = ClusterShape;
  GS_DYNAMIC_SHARED(memory);
  unsigned char* const stages = memory + (kClusterAlign - reinterpret_cast<std::uintptr_t>(memory) % kClusterAlign) % kClusterAlign;
  ClusterState& state = *reinterpret_cast<ClusterState*>(stages + S::kStages * S::kStageBytes);
  if (threadIdx.x == 0) {
    for (Barrier& barrier : state.full) barrier_init(&barrier, S::kGroups * kWarp + 1);
    for (Barrier& barrier : state.empty) barrier_init(&barrier, S::kPair * S::kGroups);
    for (Barrier& barrier : state.item_full) {
      barrier_init(&barrier, 1);
      barrier_arrive_expecting(&barrier, sizeof(uint4));
    }
    for (Barrier& barrier : state.item_empty) barrier_init(&barrier, S::kReaders);
    barriers_are_ready();
  }
  cluster_sync();
  let_next_start();
  wait_for_previous();
  if (threadIdx.x < S::kMultipliers) {
    registers_up<S::kMultiplierRegisters>();
    multiply_tiles<kEpilogue>(work, stages, state, threadIdx.x / 128);
  } else {
    registers_down<S::kLoaderRegisters>();
    const std::uint32_t warp = (threadIdx.x - S::kMultipliers) / kWarp;
    if (warp < S::kGroups) load_rows<kEpilogue == Epilogue::kSwiGlu>(work, stages, state, warp);
    if (warp == S::kWeightWarp) load_weights(work, stages, state);
    if (warp == S::kItemWarp && cluster_rank() == 0) publish_items(work, state);
    __syncwarp();
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
  const std::size_t tiles = most_row_tiles * ceil_div(work.w.rows, 2 * S::kOutputs);
  const auto kernel = gemm_cluster_kernel<kEpilogue>;
  allow_shared_memory(kernel, kClusterSharedBytes);
  launch_clusters(kernel, dim3(static_cast<unsigned>(S::kPair * std::min(pairs, tiles))), dim3(S::kThreads), S::kPair, kClusterSharedBytes,
                  stream, full);
}

}  // namespace gritstone::cuda
