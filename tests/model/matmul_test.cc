// Every type x layout x ISA of this machine x odd shapes: close to a double-precision product of dequantize_row's values, and the same
// bits whatever the ISA, the tokens beside a token, the gather and the panel range.
#include "model/kernels/matmul.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <string>
#include <tuple>

#include "tests/model/matmul_data.h"

namespace gritstone {
namespace {

using namespace matmul_data;

struct Case {
  DType type;
  MatrixLayout layout;
};

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const DType type : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1, DType::kQ8_0,
                           DType::kQ2_K, DType::kQ3_K, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K}) {
    cases.push_back({type, MatrixLayout::kRows});
    if (has_panel_kernel(type, 256)) cases.push_back({type, MatrixLayout::kPanels});
  }
  return cases;
}

class MatmulTest : public testing::TestWithParam<std::tuple<Case, Isa>> {
 protected:
  DType type() const { return std::get<0>(GetParam()).type; }
  MatrixLayout layout() const { return std::get<0>(GetParam()).layout; }
  Isa isa() const { return std::get<1>(GetParam()); }

  void SetUp() override {
    if (!present(isa())) GTEST_SKIP() << "this CPU lacks " << name(isa());
  }

  // Odd widths where the type allows them.
  std::vector<std::size_t> widths() const {
    if (traits(type()).block == 256) return {256, 768};
    if (traits(type()).block == 32) return {32, 96, 576};
    return {24, 37, 160};
  }

  Inputs inputs(std::size_t rows, std::size_t cols) {
    Inputs in(rows, cols, random_);
    if (layout() == MatrixLayout::kPanels) kernels(isa()).quantize_rows(in.view, 0, rows);
    return in;
  }

  std::mt19937 random_{static_cast<std::uint32_t>(std::get<0>(GetParam()).type) * 7 + 1};
};

std::string case_name(const testing::TestParamInfo<std::tuple<Case, Isa>>& info) {
  const Case& c = std::get<0>(info.param);
  return std::string(traits(c.type).name) + (c.layout == MatrixLayout::kRows ? "_rows_" : "_panels_") + name(std::get<1>(info.param));
}

TEST_P(MatmulTest, MatchesDoubleProduct) {
  for (const std::size_t cols : widths()) {
    const Weights w(type(), 37, cols, random_);
    const std::size_t tokens = 9;
    const Inputs in = inputs(tokens, cols);
    std::vector<std::uint32_t> rows(tokens);
    std::iota(rows.begin(), rows.end(), 0u);
    const std::vector<float> y = multiply(isa(), w.matrix(layout()), in.view, rows, 0, 3);
    for (std::size_t t = 0; t < tokens; ++t) {
      for (std::size_t row = 0; row < w.rows; ++row) {
        double exact = 0, used = 0, magnitude = 0, rounding = 0;
        for (std::size_t k = 0; k < cols; ++k) {
          const double weight = w.values[row * cols + k];
          const double x = in.view.x[t * cols + k];
          const double group = layout() == MatrixLayout::kPanels ? in.view.scale[t * (cols / 32) + k / 32] : 0.0;
          exact += weight * x;
          used += weight * (layout() == MatrixLayout::kPanels ? group * in.view.q[t * cols + k] : x);
          magnitude += std::abs(weight * x);
          rounding += std::abs(weight) * group * 0.501;  // half a step of the activations' quantisation per column
        }
        // An affine type adds two large terms of opposite sign: up to 31 * |d x| beside |w x|.
        const double slack = layout() == MatrixLayout::kPanels ? 2e-5 * (magnitude + 40 * rounding) : 1e-6 * magnitude;
        ASSERT_NEAR(y[t * w.rows + row], used, slack) << "cols " << cols << " token " << t << " row " << row;
        ASSERT_NEAR(y[t * w.rows + row], exact, rounding + slack) << "cols " << cols << " token " << t << " row " << row;
      }
    }
  }
}

TEST_P(MatmulTest, BitsEqualScalar) {
  for (const std::size_t cols : widths()) {
    const Weights w(type(), 53, cols, random_);
    const Inputs in = inputs(5, cols);
    const std::vector<std::uint32_t> rows = {4, 0, 0, 3, 1};
    const Matrix m = w.matrix(layout());
    ASSERT_EQ(bits(multiply(isa(), m, in.view, rows, 0, 4)), bits(multiply(Isa::kScalar, m, in.view, rows, 0, 4))) << "cols " << cols;
  }
}

TEST_P(MatmulTest, BitsIndependentOfTokensGatherAndRange) {
  const std::size_t cols = widths().back();
  const Weights w(type(), 75, cols, random_);
  const Matrix m = w.matrix(layout());
  const std::size_t panels = m.panels();
  const Inputs in = inputs(33, cols);
  std::vector<std::uint32_t> all(33);
  std::iota(all.begin(), all.end(), 0u);
  const std::vector<float> want = multiply(isa(), m, in.view, all, 0, panels);

  for (std::size_t tokens = 1; tokens <= 33; ++tokens) {
    std::vector<std::uint32_t> rows(tokens);
    for (std::uint32_t& row : rows) row = random_() % 33;
    const std::vector<float> y = multiply(isa(), m, in.view, rows, 0, panels);
    for (std::size_t t = 0; t < tokens; ++t) {
      ASSERT_EQ(0, std::memcmp(&y[t * w.rows], &want[rows[t] * w.rows], 4 * w.rows)) << tokens << " tokens, token " << t;
    }
  }
  for (std::size_t begin = 0; begin < panels; ++begin) {
    for (std::size_t end = begin; end <= panels; ++end) {
      const std::vector<float> y = multiply(isa(), m, in.view, all, begin, end);
      for (std::size_t i = 0; i < y.size(); ++i) {
        const std::size_t panel = i % w.rows / kPanelRows;
        const float expected = panel >= begin && panel < end ? want[i] : kUntouched;
        ASSERT_EQ(0, std::memcmp(&y[i], &expected, 4)) << "panels " << begin << ".." << end << " element " << i;
      }
    }
  }
}

// 16,640 columns: no scratch holds a row of f32, nor the scales of many tokens.
TEST_P(MatmulTest, WideRows) {
  const std::size_t cols = 65 * 256;
  const Weights w(type(), 5, cols, random_);
  const Inputs in = inputs(11, cols);
  std::vector<std::uint32_t> rows(11);
  std::iota(rows.begin(), rows.end(), 0u);
  const Matrix m = w.matrix(layout());
  ASSERT_EQ(bits(multiply(isa(), m, in.view, rows, 0, 1)), bits(multiply(Isa::kScalar, m, in.view, rows, 0, 1)));
}

INSTANTIATE_TEST_SUITE_P(All, MatmulTest,
                         testing::Combine(testing::ValuesIn(all_cases()), testing::Values(Isa::kScalar, Isa::kAvx2, Isa::kAvx512)),
                         case_name);

}  // namespace
}  // namespace gritstone
