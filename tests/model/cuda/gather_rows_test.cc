// gather_rows: every byte of the rows asked for, and no other.
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "model/kernels/cuda/ops.h"
#include "tests/model/cuda/device_array.h"
#include "tests/model/cuda/random_values.h"

namespace gritstone::cuda {
namespace {

TEST(GatherRows, CopiesRows) {
  GS_REQUIRE_DEVICE();
  for (const std::size_t width : {8u, 576u, 4104u}) {  // two-byte elements
    const std::vector<std::int32_t> numbers = random_indices(3, 7 * width, 65536), rows = {6, 0, 3, 3};
    const std::vector<half_bits> values(numbers.begin(), numbers.end());
    const DeviceArray<half_bits> from(values), to(5 * width);
    const DeviceArray<std::int32_t> index(rows);
    gather_rows(nullptr, from.data(), index.data(), 4, width * sizeof(half_bits), to.data());
    const std::vector<half_bits> got = to.download();
    for (std::size_t i = 0; i < 4 * width; ++i) {
      ASSERT_EQ(got[i], values[static_cast<std::size_t>(rows[i / width]) * width + i % width]) << i;
    }
    for (std::size_t i = 4 * width; i < got.size(); ++i) ASSERT_EQ(got[i], 0xFFFF);
  }
}

}  // namespace
}  // namespace gritstone::cuda
