// norm_route against RMSNorm, product, softmax and choice in double precision.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

#include "model/kernels/cuda/ops.h"
#include "tests/model/cuda/device_array.h"
#include "tests/model/cuda/random_values.h"

namespace gritstone::cuda {
namespace {

struct NormRouteShape {
  std::uint32_t rows, experts, used, width;
  HalfType type;
};

// Its rows are of very different sizes; every odd expert has the router row of the one before, so that each row meets ties.
class NormRouteTest : public testing::TestWithParam<NormRouteShape> {
 protected:
  static constexpr float kEps = 1e-5f;

  void run(std::uint32_t rows, bool normalise, bool with_probabilities) {
    const NormRouteShape s = GetParam();
    x_ = random_values(s.width, std::size_t{rows} * s.width);
    for (std::size_t i = 0; i < x_.size(); ++i) x_[i] *= std::ldexp(1.0f, static_cast<int>(i / s.width % 23) - 9);
    norm_ = random_values(s.width + 1, s.width);
    router_ = random_values(s.experts, std::size_t{s.experts} * s.width);
    for (float& w : router_) w *= 3 / std::sqrt(static_cast<float>(s.width));
    for (std::size_t e = 1; e < s.experts; e += 2) {
      std::copy_n(router_.begin() + static_cast<std::ptrdiff_t>((e - 1) * s.width), s.width,
                  router_.begin() + static_cast<std::ptrdiff_t>(e * s.width));
    }
    const DeviceArray<float> x(x_), norm(norm_), router(router_);
    // One row more than is asked for.
    const DeviceArray<float> probabilities((rows + 1) * s.experts), weights((rows + 1) * s.used);
    const DeviceArray<std::int32_t> chosen((rows + 1) * s.used);
    const DeviceArray<half_bits> out((rows + 1) * s.width);
    DeviceMatrix matrix;
    matrix.format = WeightFormat::kF32;
    matrix.rows = s.experts;
    matrix.cols = s.width;
    matrix.values = router.data();
    ASSERT_TRUE(norm_route_takes(matrix));
    Routing routing;
    routing.probabilities = with_probabilities ? probabilities.data() : nullptr;
    routing.chosen = chosen.data();
    routing.weights = weights.data();
    routing.used = s.used;
    routing.normalise = normalise;
    norm_route(nullptr, x.data(), rows, norm.data(), kEps, matrix, routing, out.data(), s.type);
    probabilities_ = probabilities.download();
    weights_ = weights.download();
    chosen_ = chosen.download();
    out_ = out.download();
  }

  // The row's normed values, compared with what the kernel wrote.
  std::vector<double> normed(std::size_t row) const {
    const NormRouteShape s = GetParam();
    const float* x = x_.data() + row * s.width;
    double squares = 0;
    for (std::size_t c = 0; c < s.width; ++c) squares += double{x[c]} * double{x[c]};
    std::vector<double> y(s.width);
    const double scale = 1 / std::sqrt(squares / s.width + double{kEps}), half_ulp = std::ldexp(1.0, s.type == HalfType::kF16 ? -11 : -8);
    for (std::size_t c = 0; c < s.width; ++c) {
      y[c] = double{x[c]} * scale * double{norm_[c]};
      EXPECT_NEAR(from_half(out_[row * s.width + c], s.type), y[c], 1.01 * half_ulp * std::abs(y[c]) + 1e-7) << row << ", " << c;
    }
    return y;
  }

  void expect_row(std::size_t row, bool normalise) const {
    const NormRouteShape s = GetParam();
    const std::vector<double> y = normed(row);
    std::vector<double> expected(s.experts);
    for (std::size_t e = 0; e < s.experts; ++e) {
      for (std::size_t c = 0; c < s.width; ++c) expected[e] += y[c] * double{router_[e * s.width + c]};
    }
    const double top = *std::max_element(expected.begin(), expected.end());
    double sum = 0;
    for (double& p : expected) sum += p = std::exp(p - top);
    const float* p = probabilities_.data() + row * s.experts;
    for (std::size_t e = 0; e < s.experts; ++e) {
      ASSERT_NEAR(p[e], expected[e] / sum, 5e-5) << row << ", " << e;
      if (e % 2 == 1) {
        ASSERT_EQ(p[e], p[e - 1]);
      }
    }
    std::vector<std::int32_t> order(s.experts);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return p[a] > p[b]; });
    double chosen_sum = 0;
    for (std::size_t j = 0; j < s.used; ++j) chosen_sum += double{p[order[j]]};
    for (std::size_t j = 0; j < s.used; ++j) {
      ASSERT_EQ(chosen_[row * s.used + j], order[j]) << row << ", " << j;
      const double weight = double{p[order[j]]};
      ASSERT_NEAR(weights_[row * s.used + j], normalise ? weight / chosen_sum : weight, 1e-6);
    }
  }

  std::vector<float> x_, norm_, router_, probabilities_, weights_;
  std::vector<std::int32_t> chosen_;
  std::vector<half_bits> out_;
};

TEST_P(NormRouteTest, EqualsReference) {
  GS_REQUIRE_DEVICE();
  const NormRouteShape s = GetParam();
  for (const bool normalise : {false, true}) {
    ASSERT_NO_FATAL_FAILURE(run(s.rows, normalise, true));
    for (std::size_t row = 0; row < s.rows; ++row) ASSERT_NO_FATAL_FAILURE(expect_row(row, normalise));
    for (std::size_t i = std::size_t{s.rows} * s.width; i < out_.size(); ++i) ASSERT_EQ(out_[i], 0xFFFF);
    for (std::size_t i = std::size_t{s.rows} * s.used; i < chosen_.size(); ++i) ASSERT_EQ(chosen_[i], -1);
    for (std::size_t i = std::size_t{s.rows} * s.experts; i < probabilities_.size(); ++i) ASSERT_TRUE(std::isnan(probabilities_[i]));
  }
}

TEST_P(NormRouteTest, ProbabilitiesMayBeLeftOut) {
  GS_REQUIRE_DEVICE();
  const NormRouteShape s = GetParam();
  ASSERT_NO_FATAL_FAILURE(run(s.rows, true, true));
  const std::vector<float> weights = weights_;
  const std::vector<std::int32_t> chosen = chosen_;
  ASSERT_NO_FATAL_FAILURE(run(s.rows, true, false));
  for (std::size_t i = 0; i < std::size_t{s.rows} * s.used; ++i) {
    ASSERT_EQ(weights_[i], weights[i]);
    ASSERT_EQ(chosen_[i], chosen[i]);
  }
  for (const float p : probabilities_) ASSERT_TRUE(std::isnan(p));
}

// More rows than blocks of sixteen have multiprocessors: blocks of 32.
TEST_P(NormRouteTest, ManyRows) {
  GS_REQUIRE_DEVICE();
  const std::uint32_t rows = 16 * static_cast<std::uint32_t>(device_properties().multiProcessorCount) + 5;
  ASSERT_NO_FATAL_FAILURE(run(rows, true, true));
  for (std::size_t row = 0; row < rows; ++row) ASSERT_NO_FATAL_FAILURE(expect_row(row, true));
}

INSTANTIATE_TEST_SUITE_P(Shapes, NormRouteTest,
                         testing::Values(NormRouteShape{5, 64, 8, 2048, HalfType::kF16}, NormRouteShape{37, 8, 3, 64, HalfType::kBF16},
                                         NormRouteShape{1, 1, 1, 32, HalfType::kF16}, NormRouteShape{17, 64, 8, 480, HalfType::kBF16},
                                         NormRouteShape{33, 33, 32, 96, HalfType::kF16}, NormRouteShape{9, 17, 4, 288, HalfType::kBF16},
                                         NormRouteShape{16, 16, 2, 544, HalfType::kF16}));

TEST(NormRoute, TakesF32RoutersOfAtMost64Experts) {
  DeviceMatrix router;
  router.format = WeightFormat::kF32;
  router.rows = 64;
  router.cols = 2048;
  EXPECT_TRUE(norm_route_takes(router));
  router.cols = 2064;
  EXPECT_FALSE(norm_route_takes(router));
  router.cols = 96;
  router.rows = 65;
  EXPECT_FALSE(norm_route_takes(router));
  router.rows = 8;
  router.format = WeightFormat::kBF16;
  EXPECT_FALSE(norm_route_takes(router));
}

}  // namespace
}  // namespace gritstone::cuda
