// The tile kernel: a block multiplies a tile of rows of x with a tile of rows of W on the tensor cores. gemm.cu and experts_gemm.cu make
// kernels of it.
//
// Blocks of 128 x 256 with warps of 64 x 64 are limited by mma.sync (about 60 % of an H100's 989 TFLOP/s) as long as the second-level cache
// gives 48 KiB a step of 4.2 MFLOP: 5 TB/s at 430 TFLOP/s. Smaller tiles need more bytes a FLOP; they are for few rows, where the weights'
// bytes are the limit and it counts how many are under way. Codes cost two instructions a value on top.
//
// Every tile shape adds the products of sixteen columns after those of the sixteen before, so that a row's result has the same bits
// whatever the number of rows.
#pragma once

#include "model/kernels/cuda/device.h"
#include "model/kernels/cuda/gemm_epilogue.cuh"
#include "model/kernels/cuda/gemm_weights.cuh"
#include "model/kernels/cuda/ops.h"
#include "model/kernels/cuda/warp.cuh"

namespace gritstone::cuda {

// rows x outputs of a block and of a warp; steps in shared memory; blocks a multiprocessor has; steps of codes in registers.
template <int rows, int outputs, int warp_rows, int warp_outputs, int stages, int blocks, int code_blocks, int int4_ahead, int int8_ahead>
struct Tile {
  static constexpr int kRows = rows, kOutputs = outputs, kWarpRows = warp_rows, kWarpOutputs = warp_outputs;
  static constexpr int kStages = stages, kBlocks = blocks, kCodeBlocks = code_blocks, kInt4Ahead = int4_ahead, kInt8Ahead = int8_ahead;
  static constexpr int kWarpsAcross = outputs / warp_outputs;
  static constexpr int kThreads = rows / warp_rows * kWarpsAcross * kWarp;
  static constexpr std::uint32_t kRowBytes = rows * kDepth * 2;  // x; W's follow
  static constexpr std::uint32_t kStageBytes = kRowBytes + outputs * kDepth * 2;
  static constexpr std::uint32_t kSharedBytes = stages * kStageBytes;
  static_assert(warp_rows % 16 == 0 && warp_outputs % 16 == 0 && stages >= 3);
};

struct GemmWork {
  DeviceMatrix w;
  const half_bits* x;               // [.., w.cols] of half_type(w.format)
  std::uint32_t rows;               // of the result
  std::uint32_t row_tiles;          // at most
  const std::int32_t* offsets;      // [w.experts + 1]: rows of each expert; null: one expert
  const std::int32_t* row_of_pair;  // SwiGLU only: the row of x that a row of the result reads
  TileOutput out;
};

// A block's part of the work.
struct Place {
  std::uint32_t expert, row, rows, output;
};

// A row tile of an expert: the index-th of those that the expert's `rows` rows from `row` on make.
struct ExpertTile {
  std::uint32_t expert, index, row, rows;
};

// What a lane knows of the experts' tiles, when they are numbered one after another: a lane has `share` experts.
template <class Tiles>
struct ExpertTiles {
  const std::int32_t* offsets;
  std::uint32_t experts, share, own, end;  // tiles of the lane's experts, and up to theirs
  Tiles tiles_of;

  __device__ ExpertTiles(const std::int32_t* offsets_, std::uint32_t experts_, Tiles tiles_of_)
      : offsets(offsets_), experts(experts_), share((experts_ + kWarp - 1) / kWarp), own(0), tiles_of(tiles_of_) {
    const std::uint32_t lane = threadIdx.x % kWarp;
#pragma unroll 2
    for (std::uint32_t i = 0; i < share; ++i) own += tiles(i);
    end = own;
#pragma unroll
    for (int distance = 1; distance < kWarp; distance *= 2) {
      const std::uint32_t before = __shfl_up_sync(kAllLanes, end, distance);
      if (lane >= static_cast<std::uint32_t>(distance)) end += before;
    }
  }
  __device__ std::uint32_t begin(std::uint32_t i) const {
    return static_cast<std::uint32_t>(offsets[min(threadIdx.x % kWarp * share + i, experts)]);
  }
  __device__ std::uint32_t tiles(std::uint32_t i) const { return tiles_of(begin(i + 1) - begin(i)); }
};

// Finds the expert that has row tile `tile`; tiles_of(rows) says how many an expert's rows make. No count comes back to the host, so a grid
// has as many tiles as there could be; false: not this one. A whole warp asks.
template <class Tiles>
__device__ bool find_expert(const std::int32_t* offsets, std::uint32_t experts, Tiles tiles_of, std::uint32_t tile, ExpertTile& found) {
  const ExpertTiles<Tiles> all(offsets, experts, tiles_of);
  const std::uint32_t lane = threadIdx.x % kWarp;
  const unsigned after = __ballot_sync(kAllLanes, tile < all.end);
  if (after == 0) return false;
  const int owner = __ffs(static_cast<int>(after)) - 1;
  std::uint32_t i = 0, index = 0;
  if (lane == static_cast<std::uint32_t>(owner)) {
    index = tile - (all.end - all.own);
    for (; index >= all.tiles(i); ++i) index -= all.tiles(i);
  }
  found.expert = __shfl_sync(kAllLanes, lane * all.share + i, owner);
  found.index = __shfl_sync(kAllLanes, index, owner);
  found.row = __shfl_sync(kAllLanes, all.begin(i), owner);
  found.rows = __shfl_sync(kAllLanes, all.begin(i + 1), owner) - found.row;
  return true;
}

// Row tiles of all experts. A whole warp asks.
template <class Tiles>
__device__ std::uint32_t count_tiles(const std::int32_t* offsets, std::uint32_t experts, Tiles tiles_of) {
  return __shfl_sync(kAllLanes, ExpertTiles<Tiles>(offsets, experts, tiles_of).end, kWarp - 1);
}

// Consecutive blocks take the columns of a band of eight column tiles, then the next row tile: blocks that run at the same time share both
// their rows and their weights in the second-level cache, and an expert's weights are read for all its row tiles before the next expert's.
template <class Tile>
__device__ bool find_place(const GemmWork& work, Place& place) {
  constexpr std::uint32_t kBand = 8;
  const std::uint32_t column_tiles = (work.w.rows + Tile::kOutputs - 1) / Tile::kOutputs;
  const std::uint32_t band = blockIdx.x / (work.row_tiles * kBand), in_band = blockIdx.x % (work.row_tiles * kBand);
  const std::uint32_t width = min(kBand, column_tiles - band * kBand);
  const std::uint32_t tile = in_band / width;
  place.output = (band * kBand + in_band % width) * Tile::kOutputs;
  if (work.offsets != nullptr) {
    const auto tiles_of = [](std::uint32_t rows) { return (rows + Tile::kRows - 1) / Tile::kRows; };
    ExpertTile found;
    if (!find_expert(work.offsets, work.w.experts, tiles_of, tile, found)) return false;
    const std::uint32_t done = found.index * Tile::kRows;
    place.expert = found.expert;
    place.row = found.row + done;
    place.rows = min(static_cast<std::uint32_t>(Tile::kRows), found.rows - done);
    return true;
  }
  place.expert = 0;
  place.row = tile * Tile::kRows;
  place.rows = min(static_cast<std::uint32_t>(Tile::kRows), work.rows - place.row);
  return true;
}

// The rows of x that a tile reads, one after another or those of its pairs (kGathered). Like the weights' places, a row's is a count of 16
// bytes; places past end() are of rows that are not there.
template <class Tile, bool kGathered>
class TileRows {
 public:
  __device__ TileRows(const GemmWork& work, const Place& place) : work_(work), end_((place.row + place.rows) * in_row()) {
#pragma unroll
    for (int i = 0; i < kNexts; ++i) {
      const std::uint32_t row = threadIdx.x / kChunks + i * kRowsApart;
      if (kGathered) {
        next_[i] = kNone;
        if (row >= place.rows) continue;
        next_[i] = static_cast<std::uint32_t>(work.row_of_pair[place.row + row]) * in_row() + threadIdx.x % kChunks;
      } else {
        next_[i] = (place.row + row) * in_row() + threadIdx.x % kChunks;
      }
    }
  }

  // Starts a part of the copies of a step; zeros where there is no row or column. Steps come in ascending order.
  __device__ void copy(unsigned char* stage, std::uint32_t step, int part) {
    const bool within = step * kChunks + threadIdx.x % kChunks < in_row();
    unsigned char* to = stage + place_of(threadIdx.x / kChunks, threadIdx.x % kChunks);
#pragma unroll
    for (int i = 0; i < kCopies; ++i) {
      if (!in_part(i, kCopies, part)) continue;
      const std::uint32_t chunk = kGathered ? next_[i] : next_[0] + i * kRowsApart * in_row();
      copy_async(to + i * kRowsApart * kDepth * 2, reinterpret_cast<const uint4*>(work_.x) + chunk, within & (chunk < end()));
    }
    if (part < kParts - 1) return;
#pragma unroll
    for (int i = 0; i < kNexts; ++i) next_[i] += kChunks;
  }

 private:
  static constexpr std::uint32_t kNone = 1u << 31;
  static constexpr std::uint32_t kRowsApart = Tile::kThreads / kChunks;
  static constexpr int kCopies = Tile::kRows / kRowsApart, kNexts = kGathered ? kCopies : 1;
  static_assert(Tile::kRows % kRowsApart == 0 && kRowsApart % 8 == 0);

  __device__ std::uint32_t in_row() const { return work_.w.cols / 8; }
  __device__ std::uint32_t end() const { return kGathered ? kNone : end_; }

  const GemmWork& work_;
  const std::uint32_t end_;
  std::uint32_t next_[kNexts];  // the thread's chunk of the step that is copied next, in its rows
};

// What a warp multiplies at a time: sixteen columns of its rows, and of all or half of its outputs (registers are short). The next
// fragments are loaded before the present ones are multiplied.
template <class Tile>
struct Fragments {
  static constexpr int kRows = Tile::kWarpRows / 16, kOutputs = Tile::kWarpOutputs / 8;
  static constexpr int kHalves = kOutputs >= 8 ? 2 : 1, kHalfOutputs = kOutputs / kHalves;
  using Sums = float[kRows][kOutputs][4];

  std::uint32_t x[2][kRows][4], w[2][kHalfOutputs][2];

  // i counts sixteens and halves of a step.
  __device__ void load(const unsigned char* stage, std::uint32_t warp_row, std::uint32_t warp_output, int i) {
    const std::uint32_t lane = threadIdx.x % kWarp, chunk = i / kHalves * 2, half = i % kHalves;
    if (half == 0) {
      const unsigned char* from = stage + place_of(warp_row + lane % 16, chunk + lane / 16);
#pragma unroll
      for (int r = 0; r < kRows; ++r) ldmatrix(x[i / kHalves % 2][r], from + r * 16 * kDepth * 2);
    }
    const std::uint32_t output = warp_output + lane / 16 * 8 + lane % 8;
    const unsigned char* from = stage + Tile::kRowBytes + place_of(output, chunk + lane / 8 % 2) + half * kHalfOutputs * 8 * kDepth * 2;
#pragma unroll
    for (int j = 0; j < kHalfOutputs; j += 2) {
      std::uint32_t both[4];
      ldmatrix(both, from + j * 8 * kDepth * 2);
      auto& to = w[i % 2];
      to[j][0] = both[0], to[j][1] = both[1];
      to[j + 1][0] = both[2], to[j + 1][1] = both[3];
    }
  }
  template <HalfType kType>
  __device__ void multiply(Sums& sums, int i) const {
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
#pragma unroll
      for (int j = 0; j < kHalfOutputs; ++j) mma<kType>(sums[r][i % kHalves * kHalfOutputs + j], x[i / kHalves % 2][r], w[i % 2][j]);
    }
  }
};

// All steps; stages 0 .. kStages - 2 are under way, the first is there. Warps without rows only help with the loads (!kMultiplies).
template <bool kMultiplies, class Tile, class Rows, class Weights>
__device__ void run_steps(unsigned char* shared, Rows& rows, Weights& weights, std::uint32_t steps, std::uint32_t warp_row,
                          std::uint32_t warp_output, typename Fragments<Tile>::Sums& sums) {
  constexpr int kHalves = Fragments<Tile>::kHalves, kItems = kDepth / 16 * kHalves;
  constexpr int kSlots = Weights::kAhead > 0 ? Weights::kAhead : 1;
  static_assert(kItems > kParts * kHalves);
  Fragments<Tile> fragments;
  if constexpr (kMultiplies) fragments.load(shared, warp_row, warp_output, 0);
  std::uint32_t stage = 0;
  for (std::uint32_t first = 0; first < steps; first += kSlots) {
#pragma unroll
    for (int slot = 0; slot < kSlots; ++slot) {
      const std::uint32_t step = first + slot;
      if (kSlots > 1 && step >= steps) break;
      const std::uint32_t next = stage + 1 == Tile::kStages ? 0 : stage + 1, done = stage == 0 ? Tile::kStages - 1 : stage - 1;
#pragma unroll
      for (int i = 0; i < kItems; ++i) {
        const bool last = i == kItems - 1;
        if (last) {
          copy_async_wait<Tile::kStages - 2>();
          sync_block<Tile::kThreads>();  // the next step's stage is there, and all have loaded the last of this one's
        }
        if constexpr (kMultiplies) {
          fragments.load(shared + (last ? next : stage) * Tile::kStageBytes, warp_row, warp_output, (i + 1) % kItems);
        }
        const int part = i / kHalves;
        if (i % kHalves == 0 && part < kParts) {
          unsigned char* free = shared + done * Tile::kStageBytes;
          rows.copy(free, step + Tile::kStages - 1, part);
          weights.copy(free + Tile::kRowBytes, step + Tile::kStages - 1, part);
          weights.convert(shared + next * Tile::kStageBytes + Tile::kRowBytes, (slot + 1) % kSlots, part);
          if (part == kParts - 1) copy_async_commit();
        }
        if constexpr (kMultiplies) fragments.template multiply<Weights::kType>(sums, i);
      }
      stage = next;
    }
  }
}

template <class Tile, WeightFormat kFormat, Epilogue kEpilogue>
__global__ void __launch_bounds__(Tile::kThreads, kFormat == WeightFormat::kBF16 ? Tile::kBlocks : Tile::kCodeBlocks)
    gemm_kernel(const GemmWork work) {
  GS_DYNAMIC_SHARED(shared);
  Place place;
  if (!find_place<Tile>(work, place)) return;
  TileRows<Tile, kEpilogue == Epilogue::kSwiGlu> rows(work, place);
  TileWeights<Tile, kFormat> weights(work.w, place.expert, place.output);
  using Weights = TileWeights<Tile, kFormat>;
#pragma unroll
  for (int slot = 0; slot < Weights::kAhead; ++slot) weights.load(slot);
#pragma unroll 1
  for (std::uint32_t stage = 0; stage < Tile::kStages - 1; ++stage) {
    unsigned char* to = shared + stage * Tile::kStageBytes;
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      weights.copy(to + Tile::kRowBytes, stage, part);
      rows.copy(to, stage, part);
    }
    copy_async_commit();
  }
#pragma unroll
  for (int part = 0; part < kParts; ++part) weights.convert(shared + Tile::kRowBytes, 0, part);
  copy_async_wait<Tile::kStages - 2>();
  __syncthreads();

  const std::uint32_t warp = threadIdx.x / kWarp, steps = (work.w.cols + kDepth - 1) / kDepth;
  const std::uint32_t warp_row = warp / Tile::kWarpsAcross * Tile::kWarpRows;
  const std::uint32_t warp_output = warp % Tile::kWarpsAcross * Tile::kWarpOutputs;
  typename Fragments<Tile>::Sums sums = {};
  if (warp_row >= place.rows) {
    run_steps<false, Tile>(shared, rows, weights, steps, warp_row, warp_output, sums);
    return;
  }
  run_steps<true, Tile>(shared, rows, weights, steps, warp_row, warp_output, sums);
  write_sums<kEpilogue>(work.out, std::size_t{place.row} + warp_row, static_cast<std::int32_t>(place.rows - warp_row),
                        place.output + warp_output, sums);
}

template <class Tile, Epilogue kEpilogue>
void launch_gemm(Stream stream, const GemmWork& work) {
  const auto start = [&](auto* kernel) {
    allow_shared_memory(kernel, Tile::kSharedBytes);
    const std::size_t blocks = work.row_tiles * ceil_div(work.w.rows, Tile::kOutputs);
    launch(kernel, dim3(static_cast<unsigned>(blocks)), dim3(Tile::kThreads), Tile::kSharedBytes, stream, work);
  };
  switch (work.w.format) {
    case WeightFormat::kBF16:
      return start(gemm_kernel<Tile, WeightFormat::kBF16, kEpilogue>);
    case WeightFormat::kInt4:
      return start(gemm_kernel<Tile, WeightFormat::kInt4, kEpilogue>);
    case WeightFormat::kInt8:
      return start(gemm_kernel<Tile, WeightFormat::kInt8, kEpilogue>);
    case WeightFormat::kF32:
      GS_CHECK(!"f32 weights are for linear_f32");
  }
}

// Whether the device has the shape's shared memory: consumer cards (8.6, 8.9) have 99 KiB a block.
template <class Tile>
bool tile_fits() {
  return Tile::kSharedBytes <= device_properties().sharedMemPerBlockOptin;
}

}  // namespace gritstone::cuda
