// Quantised activations, the same on every ISA; sizes of packed panels.
#include <gtest/gtest.h>

#include <cmath>
#include <iterator>
#include <limits>
#include <string>

#include "model/kernels/matmul.h"
#include "tests/model/matmul_data.h"

namespace gritstone {
namespace {

using namespace matmul_data;

class QuantizeRowsTest : public testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    if (!present(GetParam())) GTEST_SKIP() << "this CPU lacks " << name(GetParam());
  }
};

TEST_P(QuantizeRowsTest, RoundsToNearestWithinHalfAStep) {
  std::mt19937 random(3);
  const std::size_t cols = 320;
  Inputs in(7, cols, random);
  kernels(GetParam()).quantize_rows(in.view, 0, 7);
  for (std::size_t g = 0; g < 7 * cols / 32; ++g) {
    const float* x = in.view.x + g * 32;
    float max = 0;
    for (int i = 0; i < 32; ++i) max = std::max(max, std::abs(x[i]));
    ASSERT_EQ(in.view.scale[g], max / 127.0f);
    for (int half = 0; half < 2; ++half) {
      float sum = 0;
      for (int i = 16 * half; i < 16 * half + 16; ++i) {
        const float q = in.view.q[g * 32 + i];
        ASSERT_LE(std::abs(q), 127.0f);
        ASSERT_LE(std::abs(x[i] - in.view.scale[g] * q), in.view.scale[g] * 0.5001f);
        sum += q;
      }
      ASSERT_EQ(static_cast<float>(in.view.sum[2 * g + half]), sum);
    }
  }
}

TEST_P(QuantizeRowsTest, BitsEqualScalarEvenForSpecialValues) {
  std::mt19937 random(4);
  const std::size_t cols = 96, rows = 64;
  Inputs in(rows, cols, random);
  const float special[] = {0.0f,
                           -0.0f,
                           1e-45f,
                           -1e-38f,
                           0x1p-100f,
                           0x1p-101f,
                           3.4e38f,
                           -3.4e38f,
                           std::numeric_limits<float>::infinity(),
                           -std::numeric_limits<float>::infinity(),
                           std::numeric_limits<float>::quiet_NaN(),
                           -std::numeric_limits<float>::quiet_NaN(),
                           0.5f,
                           1.5f,
                           2.5f};
  for (std::size_t g = 0; g < rows * cols / 32; ++g) {
    float* x = in.x.as<float>() + 32 * g;
    if (g % 3 == 0) std::fill_n(x, 32, 0.0f);
    if (g % 5 == 0) x[0] = 127.0f;  // scale 1: the halves of `special` are ties
    for (int i = 0; i < 3; ++i) x[random() % 32] = special[random() % std::size(special)];
  }
  Inputs other(rows, cols, random);
  std::memcpy(other.x.as<float>(), in.view.x, rows * cols * 4);
  kernels(Isa::kScalar).quantize_rows(in.view, 0, rows);
  kernels(GetParam()).quantize_rows(other.view, 0, 10);
  kernels(GetParam()).quantize_rows(other.view, 10, rows);
  EXPECT_EQ(0, std::memcmp(in.view.q, other.view.q, in.q.size()));
  EXPECT_EQ(0, std::memcmp(in.view.scale, other.view.scale, in.scale.size()));
  EXPECT_EQ(0, std::memcmp(in.view.sum, other.view.sum, in.sum.size()));
}

// A broken activation must not look like a number.
TEST_P(QuantizeRowsTest, NonFiniteInputMakesOutputsNaN) {
  std::mt19937 random(5);
  const Weights w(DType::kQ8_0, 16, 64, random);
  for (const float broken : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    Inputs in(2, 64, random);
    in.x.as<float>()[64 + 40] = broken;
    kernels(GetParam()).quantize_rows(in.view, 0, 2);
    const std::vector<float> y = multiply(GetParam(), w.matrix(MatrixLayout::kPanels), in.view, {0, 1}, 0, 1);
    for (std::size_t row = 0; row < 16; ++row) {
      EXPECT_TRUE(std::isfinite(y[row]));
      EXPECT_TRUE(std::isnan(y[16 + row]));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, QuantizeRowsTest, testing::Values(Isa::kScalar, Isa::kAvx2, Isa::kAvx512),
                         [](const auto& isa) { return std::string(name(isa.param)); });

TEST(PackPanel, SizesStayNearTheFiles) {
  const auto bits_per_weight = [](DType type) { return 8.0 * static_cast<double>(panel_bytes(type, 2048)) / (16 * 2048); };
  EXPECT_EQ(bits_per_weight(DType::kQ4_0), 4.5);
  EXPECT_EQ(bits_per_weight(DType::kQ4_1), 5.0);
  EXPECT_EQ(bits_per_weight(DType::kQ5_0), 5.5);
  EXPECT_EQ(bits_per_weight(DType::kQ5_1), 6.0);
  EXPECT_EQ(bits_per_weight(DType::kQ8_0), 8.5);
  EXPECT_LE(bits_per_weight(DType::kQ4_K), 4.65);
  EXPECT_LE(bits_per_weight(DType::kQ5_K), 5.65);
  EXPECT_LE(bits_per_weight(DType::kQ6_K), 6.5625);
  EXPECT_LE(bits_per_weight(DType::kQ3_K), 3.5625);
  EXPECT_LE(bits_per_weight(DType::kQ2_K), 3.125);
  for (const std::size_t cols : {32u, 96u, 576u, 2048u}) EXPECT_EQ(panel_bytes(DType::kQ8_0, cols) % 64, 0u);
}

TEST(PackPanel, OnlyWholeBlocks) {
  EXPECT_FALSE(has_panel_kernel(DType::kQ4_K, 576));
  EXPECT_TRUE(has_panel_kernel(DType::kQ4_0, 576));
  EXPECT_FALSE(has_panel_kernel(DType::kQ4_0, 48));
  EXPECT_FALSE(has_panel_kernel(DType::kQ4_0, 0));
  EXPECT_FALSE(has_panel_kernel(DType::kF16, 2048));
}

}  // namespace
}  // namespace gritstone
