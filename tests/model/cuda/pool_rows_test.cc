// pool_rows: the same bits as add_pool_rows on the CPU.
#include <gtest/gtest.h>

#include <vector>

#include "model/kernels/cuda/ops.h"
#include "model/ops/pool.h"
#include "tests/model/cuda/device_array.h"
#include "tests/model/cuda/random_values.h"

namespace gritstone::cuda {
namespace {

TEST(PoolRows, EqualsTheCpu) {
  GS_REQUIRE_DEVICE();
  for (const std::uint32_t width : {64u, 576u, 2048u}) {
    const std::vector<float> states = random_values(width, std::size_t{200} * width);
    const std::vector<PoolRange> ranges = {{0, 1, 1, 0}, {3, 16, 1, 1}, {20, 33, 17, 1}, {60, 140, 1, 0}};
    std::vector<double> sums;
    for (const float value : random_values(width + 1, ranges.size() * width)) sums.push_back(static_cast<double>(value) / 3);
    const DeviceArray<float> x(states);
    const DeviceArray<PoolRange> list(ranges);
    const DeviceArray<double> device_sums(sums);
    pool_rows(nullptr, x.data(), width, list.data(), static_cast<std::uint32_t>(ranges.size()), device_sums.data());
    for (std::size_t i = 0; i < ranges.size(); ++i) {
      const PoolRange& range = ranges[i];
      add_pool_rows(states.data(), width, {range.row, range.rows, range.first_weight, range.weight_step, sums.data() + i * width}, 0,
                    width);
    }
    EXPECT_EQ(device_sums.download(), sums) << width;
  }
}

}  // namespace
}  // namespace gritstone::cuda
