// Every type x layout x ISA of this machine x odd shapes: close to a double-precision product of dequantize_row's values, and the same
// bits whatever the ISA, the tokens beside a token, the gather and the panel range.
#include "model/kernels/matmul.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <numeric>
#include <random>
#include <string>
#include <tuple>
#include <vector>

namespace gritstone {
namespace {

enum class Isa { kScalar, kAvx2, kAvx512 };

const char* name(Isa isa) { return isa == Isa::kScalar ? "scalar" : isa == Isa::kAvx2 ? "avx2" : "avx512"; }

bool present(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (isa == Isa::kAvx512) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni");
  }
#endif
  return isa == Isa::kScalar;
}

const MatmulKernels& kernels(Isa isa) {
  return isa == Isa::kScalar ? matmul_scalar() : isa == Isa::kAvx2 ? matmul_avx2() : matmul_avx512();
}

// 64-byte aligned bytes, as the engine's arenas are.
class Buffer {
 public:
  explicit Buffer(std::size_t bytes) : size_(bytes), data_(static_cast<std::uint8_t*>(operator new (bytes + 64, std::align_val_t{64}))) {
    std::memset(data_.get(), 0xA5, bytes);
  }
  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(data_.get());
  }
  std::size_t size() const { return size_; }

 private:
  struct Free {
    void operator()(std::uint8_t* p) const { operator delete (p, std::align_val_t{64}); }
  };
  std::size_t size_;
  std::unique_ptr<std::uint8_t, Free> data_;
};

// Where a block keeps its f16 scales; the rest of a quantised block may be any bytes.
std::vector<std::size_t> scale_offsets(DType type) {
  switch (type) {
    case DType::kQ4_1:
    case DType::kQ5_1:
    case DType::kQ4_K:
    case DType::kQ5_K:
      return {0, 2};
    case DType::kQ2_K:
      return {80, 82};
    case DType::kQ3_K:
      return {108};
    case DType::kQ6_K:
      return {208};
    default:
      return {0};
  }
}

// Random rows: every code and sub-scale a file may hold, including ones no quantiser writes (Q8_0's -128).
std::vector<std::uint8_t> random_rows(DType type, std::size_t rows, std::size_t cols, std::mt19937& random) {
  std::vector<std::uint8_t> bytes(rows * row_bytes(type, cols));
  std::uniform_real_distribution<float> real(-1.0f, 1.0f);
  const auto put = [&](std::size_t at, float value) {
    const std::uint16_t bits = f32_to_f16(value);
    std::memcpy(bytes.data() + at, &bits, 2);
  };
  if (type == DType::kF32) {
    for (std::size_t i = 0; i < bytes.size(); i += 4) {
      const float value = real(random);
      std::memcpy(bytes.data() + i, &value, 4);
    }
  } else if (type == DType::kF16) {
    for (std::size_t i = 0; i < bytes.size(); i += 2) put(i, real(random));
  } else if (type == DType::kBF16) {
    for (std::size_t i = 0; i < bytes.size(); i += 2) {
      const std::uint16_t bits = f32_to_bf16(real(random));
      std::memcpy(bytes.data() + i, &bits, 2);
    }
  } else {
    for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random());
    for (std::size_t block = 0; block < bytes.size(); block += traits(type).bytes) {
      for (const std::size_t offset : scale_offsets(type)) put(block + offset, 0.01f * real(random));
    }
  }
  return bytes;
}

struct Weights {
  DType type;
  std::size_t rows, cols;
  std::vector<std::uint8_t> file;
  Buffer panels;
  std::vector<float> values;  // [rows, cols] exact

  Weights(DType t, std::size_t r, std::size_t c, std::mt19937& random)
      : type(t),
        rows(r),
        cols(c),
        file(random_rows(t, r, c, random)),
        panels(has_panel_kernel(t, c) ? (r + kPanelRows - 1) / kPanelRows * panel_bytes(t, c) : 0),
        values(r * c) {
    for (std::size_t row = 0; row < rows; ++row) {
      dequantize_row(type, file.data() + row * row_bytes(type, cols), values.data() + row * cols, cols);
    }
    for (std::size_t p = 0; panels.size() > 0 && p * kPanelRows < rows; ++p) {
      const std::size_t n = std::min(kPanelRows, rows - p * kPanelRows);
      pack_panel(type, file.data() + p * kPanelRows * row_bytes(type, cols), n, cols,
                 panels.as<std::uint8_t>() + p * panel_bytes(type, cols));
    }
  }

  Matrix matrix(MatrixLayout layout) const {
    return {type, layout, rows, cols, layout == MatrixLayout::kRows ? file.data() : panels.as<std::uint8_t>()};
  }
};

struct Inputs {
  Buffer x, q, scale, sum;
  Activations view;

  Inputs(std::size_t rows, std::size_t cols, std::mt19937& random)
      : x(rows * cols * 4), q(rows * cols), scale(rows * (cols / 32) * 4), sum(rows * (cols / 16) * 4) {
    std::normal_distribution<float> normal;
    for (std::size_t i = 0; i < rows * cols; ++i) x.as<float>()[i] = normal(random) * (i % 61 == 0 ? 8.0f : 1.0f);
    view = {rows, cols, x.as<float>(), q.as<std::int8_t>(), scale.as<float>(), sum.as<std::int32_t>()};
  }
};

constexpr float kUntouched = -12345.0f;

// y [tokens, rows] of panels [begin, end); elements outside them stay kUntouched.
std::vector<float> multiply(Isa isa, const Matrix& w, const Activations& x, const std::vector<std::uint32_t>& x_rows, std::size_t begin,
                            std::size_t end) {
  const Buffer scratch(kMatmulScratch * sizeof(float));
  std::vector<float> y(x_rows.size() * w.rows, kUntouched);
  MatmulTask task;
  task.w = &w;
  task.panel_begin = begin;
  task.panel_end = end;
  task.x = &x;
  task.x_rows = x_rows.data();
  task.tokens = x_rows.size();
  task.y = y.data();
  task.y_stride = w.rows;
  task.scratch = scratch.as<float>();
  kernels(isa).matmul(task);
  return y;
}

std::vector<std::uint32_t> bits(const std::vector<float>& values) {
  std::vector<std::uint32_t> out(values.size());
  if (!values.empty()) std::memcpy(out.data(), values.data(), 4 * values.size());
  return out;
}

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
