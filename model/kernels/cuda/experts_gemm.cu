// The experts' matrices for many (row, choice) pairs, on the tensor cores (gemm_tile.cuh). The number of pairs of each expert stays on the
// device: the grid has the most row tiles that there could be, and a block finds its expert itself.
#include <algorithm>

#include "base/error.h"
#include "model/kernels/cuda/device.h"
#include "model/kernels/cuda/gemm_cluster.cuh"
#include "model/kernels/cuda/gemm_tile.cuh"
#include "model/kernels/cuda/gemm_variants.h"
#include "model/kernels/cuda/gemm_warpgroup.cuh"
#include "model/kernels/cuda/ops.h"

namespace gritstone::cuda {
namespace {

using Rows16 = Tile<16, 128, 16, 32, 3, 4, 3, 3, 2>;
using Rows32 = Tile<32, 128, 32, 32, 3, 3, 3, 2, 2>;
using Rows64 = Tile<64, 128, 32, 64, 3, 3, 2, 2, 1>;
using Wide = Tile<128, 256, 64, 64, 3, 1, 1, 1, 1>;

// Row tiles at most: every expert but those without pairs may leave one tile unfilled.
std::uint32_t most_row_tiles(const GemmWork& work, std::uint32_t tile_rows) {
  const std::uint32_t unfilled = std::min(work.w.experts, work.rows);
  return unfilled + (work.rows - unfilled) / tile_rows;
}

template <class Shape, Epilogue kEpilogue>
void run(Stream stream, GemmWork work) {
  work.row_tiles = most_row_tiles(work, Shape::kRows);
  launch_gemm<Shape, kEpilogue>(stream, work);
}

// By the pairs of an expert on average. Few rows: the weights' bytes are the cost, which no shape changes, and small tiles waste less.
int choose_variant(const ExpertPairs& pairs, const DeviceMatrix& w, bool pinned) {
  const std::uint32_t average = pairs.pairs / w.experts;
  if (average > 80 && !pinned && has_warpgroups()) return w.format == WeightFormat::kBF16 ? kClusterVariant : kWarpgroupVariant;
  return average <= 8 ? 0 : average <= 24 ? 1 : average <= 80 || !tile_fits<Wide>() ? 2 : 3;
}

template <Epilogue kEpilogue>
void run_variant(Stream stream, int variant, const DeviceMatrix& w, const half_bits* x, const std::int32_t* row_of_pair,
                 const ExpertPairs& pairs, std::uint32_t ticket, const TileOutput& out) {
  GS_CHECK(w.cols % (w.format == WeightFormat::kBF16 ? 8 : 32) == 0);
  if (pairs.pairs == 0) return;
  GemmWork work = {};
  work.w = w;
  work.x = x;
  work.rows = pairs.pairs;
  work.offsets = pairs.offsets;
  work.row_of_pair = row_of_pair;
  work.out = out;
  switch (variant) {
    case 0:
      return run<Rows16, kEpilogue>(stream, work);
    case 1:
      return run<Rows32, kEpilogue>(stream, work);
    case 2:
      return run<Rows64, kEpilogue>(stream, work);
    case 3:
      return run<Wide, kEpilogue>(stream, work);
    case kWarpgroupVariant:
      work.row_tiles = most_row_tiles(work, WarpgroupTile<3>::kRows);
      return launch_gemm_warpgroup<3, kEpilogue>(stream, work);
    default:
      return launch_gemm_cluster<kEpilogue>(stream, work, most_row_tiles(work, ClusterShape::kGroupRows), pairs.tickets + ticket);
  }
}

}  // namespace

void experts_gate_up_variant(Stream stream, int variant, const DeviceMatrix& gate_up, const half_bits* x, const ExpertPairs& pairs,
                             half_bits* h, HalfType h_type) {
  GS_CHECK(gate_up.rows % 2 == 0);
  run_variant<Epilogue::kSwiGlu>(stream, variant, gate_up, x, pairs.row_of_pair, pairs, 0, {h, gate_up.rows / 2, false, h_type});
}

void experts_down_variant(Stream stream, int variant, const DeviceMatrix& down, const half_bits* h, const ExpertPairs& pairs,
                          half_bits* y) {
  run_variant<Epilogue::kHalf>(stream, variant, down, h, nullptr, pairs, 1, {y, down.rows, false, half_type(down.format)});
}

void experts_gate_up_gemm(Stream stream, const DeviceMatrix& gate_up, const half_bits* x, const ExpertPairs& pairs, half_bits* h,
                          HalfType h_type, bool pinned) {
  experts_gate_up_variant(stream, choose_variant(pairs, gate_up, pinned), gate_up, x, pairs, h, h_type);
}

void experts_down_gemm(Stream stream, const DeviceMatrix& down, const half_bits* h, const ExpertPairs& pairs, half_bits* y, bool pinned) {
  experts_down_variant(stream, choose_variant(pairs, down, pinned), down, h, pairs, y);
}

}  // namespace gritstone::cuda
