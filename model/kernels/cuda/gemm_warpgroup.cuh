// The tile kernel of gemm_tile.cuh for Hopper's warpgroup products: a block of two or three warpgroups makes 64 x 256 results with each.
// Products run in the background while the next steps' rows and weights are on their way. Three groups read seven bytes of the
// second-level cache where two read nine, which sustained, where the power is the limit, is a few percent of a prefill; two leave fewer
// processors idle at the end of a small product. The sums of sixteen columns may round otherwise than mma.sync's: not for deterministic
// mode.
#pragma once

#include "model/kernels/cuda/gemm_tile.cuh"
#include "model/kernels/cuda/wgmma.cuh"

namespace gritstone::cuda {

template <int groups>
struct WarpgroupTile {
  static constexpr int kRows = 64 * groups, kOutputs = 256, kStages = 4, kThreads = 128 * groups, kInt4Ahead = 1, kInt8Ahead = 1;
  static constexpr std::uint32_t kRowBytes = kRows * kDepth * 2;
  static constexpr std::uint32_t kStageBytes = kRowBytes + kOutputs * kDepth * 2;
  static constexpr std::uint32_t kAlign = 1024;  // of a stage: eight rows of 128 bytes
  static constexpr std::uint32_t kSharedBytes = kStages * kStageBytes + kAlign;

  // The first two groups load the weights, which three do not divide.
  struct WeightLoaders {
    static constexpr int kOutputs = WarpgroupTile::kOutputs, kThreads = 256, kInt4Ahead = 1, kInt8Ahead = 1;
  };
};

template <int kGroups, WeightFormat kFormat, Epilogue kEpilogue>
__global__ void __launch_bounds__(WarpgroupTile<kGroups>::kThreads, 1) gemm_warpgroup_kernel(const GemmWork work) {
  using Tile = WarpgroupTile<kGroups>;
  GS_DYNAMIC_SHARED(memory);
  unsigned char* const shared = memory + (Tile::kAlign - reinterpret_cast<std::uintptr_t>(memory) % Tile::kAlign) % Tile::kAlign;
  Place place;
  if (!find_place<Tile>(work, place)) return;
  TileRows<Tile, kEpilogue == Epilogue::kSwiGlu> rows(work, place);
  using Loaders = typename Tile::WeightLoaders;
  using Weights = TileWeights<Loaders, kFormat>;
  const bool loads_weights = threadIdx.x < Loaders::kThreads;
  Weights weights(work.w, place.expert, place.output);
  const auto copy = [&](std::uint32_t step) {
    unsigned char* to = shared + step % Tile::kStages * Tile::kStageBytes;
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      rows.copy(to, step, part);
      if (loads_weights) weights.copy(to + Tile::kRowBytes, step, part);
    }
    copy_async_commit();
  };
  const auto convert = [&](std::uint32_t step) {
#pragma unroll
    for (int part = 0; loads_weights && part < kParts; ++part) {
      weights.convert(shared + step % Tile::kStages * Tile::kStageBytes + Tile::kRowBytes, 0, part);
    }
  };
#pragma unroll
  for (int slot = 0; loads_weights && slot < Weights::kAhead; ++slot) weights.load(slot);
#pragma unroll 1
  for (std::uint32_t step = 0; step < Tile::kStages - 1; ++step) copy(step);
  convert(0);

  const std::uint32_t warp = threadIdx.x / kWarp, group_row = warp / 4 * 64;
  const std::uint32_t steps = (work.w.cols + kDepth - 1) / kDepth;
  const auto arrive = [&] {
    copy_async_wait<Tile::kStages - 2>();
    wgmma_fence_shared();
    sync_block<Tile::kThreads>();  // this step's stage is there for all groups
  };
  const auto go_on = [&](std::uint32_t step) {
    sync_block<Tile::kThreads>();  // nobody reads the stage of the step before any more
    copy(step + Tile::kStages - 1);
    convert(step + 1);
  };
  if (group_row >= place.rows) {  // no rows: the group only helps with the copies
#pragma unroll 1
    for (std::uint32_t step = 0; step < steps; ++step) {
      arrive();
      go_on(step);
    }
    return;
  }
  float sums[1][32][4] = {};
#pragma unroll 1
  for (std::uint32_t step = 0; step < steps; ++step) {
    arrive();
    const unsigned char* stage = shared + step % Tile::kStages * Tile::kStageBytes;
    wgmma_begin();
#pragma unroll
    for (std::uint32_t k = 0; k < kDepth * 2; k += 32) {
      wgmma_64x256<Weights::kType>(sums[0], stage + group_row * kDepth * 2 + k, stage + Tile::kRowBytes + k);
    }
    wgmma_commit();
    wgmma_wait<1>();
    go_on(step);
  }
  wgmma_wait<0>();
  const std::uint32_t warp_row = warp * 16;
  if (warp_row >= place.rows) return;
  write_sums<kEpilogue>(work.out, std::size_t{place.row} + warp_row, static_cast<std::int32_t>(place.rows - warp_row), place.output, sums);
}

template <int kGroups, Epilogue kEpilogue>
void launch_gemm_warpgroup(Stream stream, const GemmWork& work) {
  using Tile = WarpgroupTile<kGroups>;
  const auto start = [&](auto* kernel) {
    allow_shared_memory(kernel, Tile::kSharedBytes);
    const std::size_t blocks = work.row_tiles * ceil_div(work.w.rows, Tile::kOutputs);
    launch(kernel, dim3(static_cast<unsigned>(blocks)), dim3(Tile::kThreads), Tile::kSharedBytes, stream, work);
  };
  switch (work.w.format) {
    case WeightFormat::kBF16:
      return start(gemm_warpgroup_kernel<kGroups, WeightFormat::kBF16, kEpilogue>);
    case WeightFormat::kInt4:
      return start(gemm_warpgroup_kernel<kGroups, WeightFormat::kInt4, kEpilogue>);
    case WeightFormat::kInt8:
      return start(gemm_warpgroup_kernel<kGroups, WeightFormat::kInt8, kEpilogue>);
    case WeightFormat::kF32:
      GS_CHECK(!"f32 weights are for linear_f32");
  }
}

}  // namespace gritstone::cuda
