// The dense product of every format and tile shape against double sums, and its bits across shapes.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

#include "model/kernels/cuda/gemm_variants.h"
#include "model/kernels/cuda/ops.h"
#include "tests/model/cuda/device_array.h"
#include "tests/model/cuda/gemm_weights.h"

namespace gritstone::cuda {
namespace {

class Gemm : public testing::TestWithParam<FormatCase> {
 protected:
  void SetUp() override { GS_REQUIRE_DEVICE(); }
};

std::vector<float> multiply(int variant, const TestWeights& weights, const DeviceArray<half_bits>& x, std::uint32_t rows) {
  DeviceArray<float> y(std::size_t{rows} * weights.view().rows);
  gemm_variant(nullptr, variant, weights.view(), x.data(), rows, y.data(), false);
  return y.download();
}

void expect_products(const TestWeights& weights, const std::vector<float>& x, const std::vector<float>& before,
                     const std::vector<float>& y) {
  const std::size_t outputs = weights.view().rows, cols = weights.view().cols;
  for (std::size_t i = 0; i < y.size(); ++i) {
    const TestWeights::Product p = weights.product(0, i % outputs, x.data() + i / outputs * cols);
    const double expected = p.sum + (before.empty() ? 0.0 : double{before[i]});
    ASSERT_NEAR(y[i], expected, 1e-6 + p.error) << "row " << i / outputs << ", output " << i % outputs;
  }
}

TEST_P(Gemm, EveryShapeMatchesDoubleSums) {
  struct Shape {
    std::uint32_t rows, outputs, cols;
  };
  const bool codes = GetParam().format != WeightFormat::kBF16;
  const Shape shapes[] = {
      {1, 32, 32}, {9, 97, 96}, {33, 300, 160}, {70, 130, 256}, {130, 259, codes ? 288u : 72u}, {20, 64, codes ? 32u : 8u}};
  for (const Shape& s : shapes) {
    const TestWeights weights(GetParam(), 1, s.outputs, s.cols, s.rows);
    const std::vector<float> x = random_halves(s.cols, std::size_t{s.rows} * s.cols, weights.type());
    const DeviceArray<half_bits> device_x = upload_halves(x, weights.type());
    for (int variant = 0; variant < kGemmVariants; ++variant) {
      if (!has_gemm_variant(variant, GetParam().format)) continue;
      SCOPED_TRACE(testing::Message() << s.rows << " x " << s.outputs << " x " << s.cols << ", variant " << variant);
      expect_products(weights, x, {}, multiply(variant, weights, device_x, s.rows));
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(Gemm, AddsToWhatIsThere) {
  for (const std::uint32_t outputs : {33u, 48u}) {
    constexpr std::uint32_t kRows = 21, kCols = 96;
    const TestWeights weights(GetParam(), 1, outputs, kCols, 5);
    const std::vector<float> x = random_halves(6, kRows * kCols, weights.type()), before = random_values(7, kRows * outputs);
    const DeviceArray<half_bits> device_x = upload_halves(x, weights.type());
    DeviceArray<float> y(before);
    gemm(nullptr, weights.view(), device_x.data(), kRows, y.data(), true);
    expect_products(weights, x, before, y.download());
  }
}

TEST_P(Gemm, ManyRowsInTwoBytes) {
  // Several tiles of a pair, the last of them odd, and columns that are no multiple of what is written at a time.
  constexpr std::uint32_t kRows = 600, kCols = 96;
  for (const std::uint32_t outputs : {40u, 301u}) {
    const TestWeights weights(GetParam(), 1, outputs, kCols, 17);
    if (!gemm_half_takes(weights.view(), kRows)) GTEST_SKIP() << "bf16 weights on Hopper only";
    const std::vector<float> x = random_halves(18, kRows * kCols, weights.type());
    DeviceArray<half_bits> y(kRows * outputs);
    for (const HalfType type : {HalfType::kF16, HalfType::kBF16}) {
      gemm_half(nullptr, weights.view(), upload_halves(x, weights.type()).data(), kRows, y.data(), type);
      const std::vector<half_bits> got = y.download();
      for (std::size_t i = 0; i < got.size(); ++i) {
        const TestWeights::Product p = weights.product(0, i % outputs, x.data() + i / outputs * kCols);
        const double rounding = type == HalfType::kF16 ? 1.0 / 2000 : 1.0 / 250;
        ASSERT_NEAR(double{from_half(got[i], type)}, p.sum, 1e-6 + std::abs(p.sum) * rounding + p.error)
            << i / outputs << ", " << i % outputs;
      }
    }
  }
  EXPECT_FALSE(gemm_half_takes(TestWeights(GetParam(), 1, 32, 32, 1).view(), 8));
}

TEST_P(Gemm, BitsDependOnNeitherShapeNorRows) {
  constexpr std::uint32_t kRows = 140, kOutputs = 66, kCols = 224;
  const TestWeights weights(GetParam(), 1, kOutputs, kCols, 8);
  const DeviceArray<half_bits> x = upload_halves(random_halves(9, kRows * kCols, weights.type()), weights.type());
  const std::vector<float> all = multiply(3, weights, x, kRows);
  const auto expect_same = [&](const std::vector<float>& some) {
    for (std::size_t i = 0; i < some.size(); ++i) {
      ASSERT_EQ(std::bit_cast<std::uint32_t>(some[i]), std::bit_cast<std::uint32_t>(all[i])) << "at " << i;
    }
  };
  for (int variant = 0; variant < kWarpgroupVariant; ++variant) {
    if (has_gemm_variant(variant, GetParam().format)) expect_same(multiply(variant, weights, x, kRows));
  }
  for (const std::uint32_t rows : {1u, 8u, 16u, 17u, 64u, 65u, 128u, 129u}) {
    DeviceArray<float> y(rows * kOutputs);
    gemm(nullptr, weights.view(), x.data(), rows, y.data(), false, true);
    expect_same(y.download());
  }
}

TEST_P(Gemm, ManyColumnTiles) {
  // More than a band of eight, with two row tiles.
  constexpr std::uint32_t kRows = 18, kOutputs = 300, kCols = 64;
  const TestWeights weights(GetParam(), 1, kOutputs, kCols, 10);
  const std::vector<float> x = random_halves(11, kRows * kCols, weights.type());
  expect_products(weights, x, {}, multiply(0, weights, upload_halves(x, weights.type()), kRows));
}

INSTANTIATE_TEST_SUITE_P(Formats, Gemm, testing::ValuesIn(kGemmFormats), [](const auto& c) { return testing::PrintToString(c.param); });

}  // namespace
}  // namespace gritstone::cuda
