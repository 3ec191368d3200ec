// Vectors kept on the device: hits in order, widths that the kernels do not take refused.
#include "model/device_search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "base/error.h"
#include "tests/base/expect_error.h"
#include "tests/model/cuda/device_array.h"
#include "tests/model/cuda/random_values.h"

namespace gritstone::cuda {
namespace {

TEST(DeviceSearch, EqualsASort) {
  GS_REQUIRE_DEVICE();
  constexpr std::size_t kRows = 700, kDim = 24;
  const std::vector<float> rows = random_halves(1, kRows * kDim, HalfType::kF16), query = random_halves(2, kDim, HalfType::kF16);
  const auto device = make_device_search(rows, kDim);
  std::vector<double> scores(kRows);
  for (std::size_t i = 0; i < kRows; ++i) {
    for (std::size_t d = 0; d < kDim; ++d) scores[i] += double{rows[i * kDim + d]} * double{query[d]};
  }
  std::vector<std::size_t> order(kRows);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return scores[a] > scores[b]; });
  for (const std::size_t k : {std::size_t{1}, std::size_t{10}, DeviceSearch::kMostHits}) {
    const std::vector<DeviceSearch::Hit> hits = device->search(query, k);
    ASSERT_EQ(hits.size(), k);
    for (std::size_t i = 0; i < k; ++i) {
      EXPECT_EQ(hits[i].row, order[i]) << k << ", " << i;
      EXPECT_NEAR(double{hits[i].score}, scores[order[i]], 1e-4) << k << ", " << i;
    }
  }
  EXPECT_EQ(make_device_search(std::span(rows).first(3 * kDim), kDim)->search(query, 10).size(), 3u);
}

TEST(DeviceSearch, RefusesWidthsThatTheKernelsDoNotTake) {
  GS_REQUIRE_DEVICE();
  const std::vector<float> rows(36);
  EXPECT_GS_ERROR(make_device_search(rows, 12), ErrorCode::kInvalidArgument, "12 dimensions");
}

}  // namespace
}  // namespace gritstone::cuda
