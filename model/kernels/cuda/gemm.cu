// y = x W^T on the tensor cores (gemm_tile.cuh).
#include <algorithm>
#include <iterator>

#include "base/error.h"
#include "model/kernels/cuda/device.h"
#include "model/kernels/cuda/gemm_cluster.cuh"
#include "model/kernels/cuda/gemm_tile.cuh"
#include "model/kernels/cuda/gemm_variants.h"
#include "model/kernels/cuda/gemm_warpgroup.cuh"
#include "model/kernels/cuda/ops.h"

namespace gritstone::cuda {
namespace {

// A matrix of 2048 rows is only 64 blocks of the first shape, so that each needs many copies under way.
using Rows16 = Tile<16, 32, 16, 16, 10, 3, 3, 8, 4>;
using Rows64 = Tile<64, 64, 32, 32, 4, 3, 3, 2, 2>;
using Rows128 = Tile<128, 128, 64, 64, 3, 2, 2, 1, 1>;
using Wide = Tile<128, 256, 64, 64, 3, 1, 1, 1, 1>;

template <class Shape>
void run(Stream stream, GemmWork work) {
  work.row_tiles = static_cast<std::uint32_t>(ceil_div(work.rows, Shape::kRows));
  launch_gemm<Shape, Epilogue::kF32>(stream, work);
}

// What the busiest multiprocessor multiplies, against the speed of the shape.
template <class Shape>
double cost(std::uint32_t rows, std::uint32_t outputs, double speed) {
  const std::size_t processors = static_cast<std::size_t>(device_properties().multiProcessorCount);
  const std::size_t tiles = ceil_div(rows, Shape::kRows) * ceil_div(outputs, Shape::kOutputs);
  return static_cast<double>(ceil_div(tiles, processors) * Shape::kRows * Shape::kOutputs) / speed;
}

int choose_variant(std::uint32_t rows, std::uint32_t outputs) {
  if (rows <= Rows16::kRows) return 0;
  if (rows <= Rows64::kRows) return 1;
  const double costs[] = {cost<Rows64>(rows, outputs, 0.5), cost<Rows128>(rows, outputs, 0.85), cost<Wide>(rows, outputs, 1.0)};
  return 1 + static_cast<int>(std::min_element(std::begin(costs), tile_fits<Wide>() ? std::end(costs) : std::end(costs) - 1) -
                              std::begin(costs));
}

}  // namespace

void gemm_variant(Stream stream, int variant, const DeviceMatrix& w, const half_bits* x, std::uint32_t rows, float* y, bool add) {
  GS_CHECK(w.experts == 1 && w.cols % (w.format == WeightFormat::kBF16 ? 8 : 32) == 0);
  if (rows == 0) return;
  GemmWork work = {};
  work.w = w;
  work.x = x;
  work.rows = rows;
  work.out = {y, w.rows, add, HalfType::kBF16};
  switch (variant) {
    case 0:
      return run<Rows16>(stream, work);
    case 1:
      return run<Rows64>(stream, work);
    case 2:
      return run<Rows128>(stream, work);
    case 3:
      return run<Wide>(stream, work);
    case kWarpgroupVariant:
      work.row_tiles = static_cast<std::uint32_t>(ceil_div(rows, WarpgroupTile<2>::kRows));
      return launch_gemm_warpgroup<2, Epilogue::kF32>(stream, work);
    default:
      return launch_gemm_cluster<Epilogue::kF32>(stream, work, ClusterRowTiles()(rows), nullptr);
  }
}

bool has_gemm_variant(int variant, WeightFormat format) {
  if (variant < kWarpgroupVariant) return variant != 3 || tile_fits<Wide>();
  return has_warpgroups() && (variant == kWarpgroupVariant || format == WeightFormat::kBF16);
}

void gemm(Stream stream, const DeviceMatrix& w, const half_bits* x, std::uint32_t rows, float* y, bool add, bool pinned) {
  int variant = choose_variant(rows, w.rows);
  if (variant == 3 && !pinned && has_warpgroups()) variant = kWarpgroupVariant;
  gemm_variant(stream, variant, w, x, rows, y, add);
}

bool gemm_half_takes(const DeviceMatrix& w, std::uint32_t rows) {
  constexpr std::uint32_t kRows = 512;  // with fewer, whole tiles leave multiprocessors idle
  return w.experts == 1 && rows >= kRows && has_gemm_variant(kClusterVariant, w.format);
}

void gemm_half(Stream stream, const DeviceMatrix& w, const half_bits* x, std::uint32_t rows, half_bits* y, HalfType type) {
  GS_CHECK(gemm_half_takes(w, rows) && w.cols % 8 == 0);
  GemmWork work = {};
  work.w = w;
  work.x = x;
  work.rows = rows;
  work.out = {y, w.rows, false, type};
  launch_gemm_cluster<Epilogue::kHalf>(stream, work, ClusterRowTiles()(rows), nullptr);
}

}  // namespace gritstone::cuda
