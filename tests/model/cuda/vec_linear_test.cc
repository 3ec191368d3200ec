// The products for few rows against sums in double.
#include <gtest/gtest.h>

#include "tests/model/cuda/vec_data.h"

namespace gritstone::cuda {
namespace {

constexpr float kEps = 1e-5f;

struct Case {
  std::uint32_t outputs, cols;
};

class VecLinear : public testing::TestWithParam<std::tuple<VecFormat, Case>> {
 protected:
  void SetUp() override { GS_REQUIRE_DEVICE(); }
};

TEST_P(VecLinear, EqualsSums) {
  const auto [format, c] = GetParam();
  std::mt19937 random(c.outputs + c.cols);
  const VecMatrix w(format, 1, c.outputs, c.cols, random);
  const std::vector<float> x = random_floats(9 * c.cols, random), norm = random_floats(c.cols, random),
                           before = random_floats(8 * c.outputs, random);
  const std::vector<std::int32_t> index{8, 3, 0, 3, 7, 1, 2, 5};
  const DeviceArray<float> device_x(x), device_norm(norm);
  const DeviceArray<std::int32_t> device_index(index);
  for (std::uint32_t variant = 0; variant < 8; ++variant) {
    const bool with_norm = (variant & 1) != 0, indexed = (variant & 2) != 0, add = (variant & 4) != 0;
    std::vector<float> of_one;  // each row in a call of its own
    for (const std::uint32_t rows : {1u, 2u, 3u, 5u, 8u}) {
      if (variant % 3 != 0 && rows != 3) continue;
      DeviceArray<float> y(rows * c.outputs);
      if (add) y.upload({before.begin(), before.begin() + rows * c.outputs});
      vec_linear(nullptr, w.matrix(), device_x.data(), indexed ? device_index.data() : nullptr, with_norm ? device_norm.data() : nullptr,
                 kEps, rows, y.data(), add);
      const std::vector<float> got = y.download();
      for (std::uint32_t t = 0; t < rows; ++t) {
        const std::size_t row = indexed ? static_cast<std::size_t>(index[t]) : t;
        const std::vector<double> seen = w.seen(normed_row(x, row, c.cols, with_norm ? norm : std::vector<float>(), double{kEps}));
        for (std::uint32_t o = 0; o < c.outputs; ++o) {
          const double want = w.dot(0, o, seen) + (add ? double{before[t * c.outputs + o]} : 0);
          ASSERT_NEAR(got[t * c.outputs + o], want, w.tolerance()) << "variant " << variant << ", " << rows << " rows, " << t << ", " << o;
        }
      }
      // A row's bits do not depend on its company.
      if (of_one.empty()) of_one.assign(got.begin(), got.begin() + c.outputs);
      for (std::uint32_t o = 0; o < c.outputs; ++o) EXPECT_EQ(got[o], of_one[o]);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, VecLinear,
                         testing::Combine(testing::ValuesIn(kVecFormats),
                                          testing::Values(Case{1, 32}, Case{97, 64}, Case{30, 96}, Case{97, 576}, Case{35, 2048},
                                                          Case{400, 128}, Case{6, 8192})));

TEST(VecLinearShapes, ManyOutputsAndOddColumns) {
  GS_REQUIRE_DEVICE();
  std::mt19937 random(1);
  for (const Case c : {Case{30000, 8}, Case{9, 40}, Case{5, 11008}}) {
    const VecMatrix w({WeightFormat::kBF16, 32}, 1, c.outputs, c.cols, random);
    const std::vector<float> x = random_floats(8 * c.cols, random);
    const DeviceArray<float> device_x(x);
    DeviceArray<float> y(8 * c.outputs);
    vec_linear(nullptr, w.matrix(), device_x.data(), nullptr, nullptr, 0, 8, y.data(), false);
    const std::vector<float> got = y.download();
    for (std::uint32_t t = 0; t < 8; ++t) {
      const std::vector<double> row = normed_row(x, t, c.cols, {}, 0);
      for (std::uint32_t o = 0; o < c.outputs; ++o) ASSERT_NEAR(got[t * c.outputs + o], w.dot(0, o, row), w.tolerance());
    }
  }
}

// Zeros are zeros, and what is no number makes the outputs none.
TEST(VecLinearShapes, NotFinite) {
  GS_REQUIRE_DEVICE();
  std::mt19937 random(2);
  for (const VecFormat format : kVecFormats) {
    const VecMatrix w(format, 1, 5, 64, random);
    std::vector<float> x(3 * 64, 0.0f);
    x[64 + 3] = INFINITY;
    x[128 + 60] = NAN;
    const DeviceArray<float> device_x(x);
    DeviceArray<float> y(3 * 5);
    vec_linear(nullptr, w.matrix(), device_x.data(), nullptr, nullptr, 0, 3, y.data(), false);
    const std::vector<float> got = y.download();
    for (std::size_t i = 0; i < 5; ++i) {
      EXPECT_EQ(got[i], 0.0f);
      EXPECT_FALSE(std::isfinite(got[5 + i]));
      EXPECT_TRUE(std::isnan(got[10 + i]));
    }
  }
}

}  // namespace
}  // namespace gritstone::cuda
