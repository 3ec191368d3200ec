#include "model/dtype.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "model/files/safetensors_reader.h"

namespace gritstone {
namespace {

constexpr DType kAll[] = {DType::kF32,  DType::kF16,  DType::kBF16, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1,
                          DType::kQ8_0, DType::kQ2_K, DType::kQ3_K, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K};

std::string name_of(DType type) { return std::string(traits(type).name); }

// dtype.safetensors: see make_dtype_goldens.py.
class Goldens {
 public:
  Goldens() : file_(std::string(GRITSTONE_SOURCE_DIR) + "/tests/golden/dtype/dtype.safetensors") {
    for (const SafetensorsTensor& tensor : parse_safetensors(file_.bytes(), "dtype.safetensors")) tensors_[tensor.name] = tensor;
  }
  std::span<const std::uint8_t> bytes(const std::string& name) const {
    return file_.bytes().subspan(tensors_.at(name).offset, tensors_.at(name).bytes);
  }
  std::vector<float> floats(const std::string& name) const {
    std::vector<float> out(bytes(name).size() / 4);
    std::memcpy(out.data(), bytes(name).data(), bytes(name).size());
    return out;
  }
  bool has(const std::string& name) const { return tensors_.contains(name); }

 private:
  MappedFile file_;
  std::map<std::string, SafetensorsTensor> tensors_;
};

std::vector<float> normal_values(std::size_t n, float sigma, std::uint32_t seed = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, sigma);
  std::vector<float> values(n);
  for (float& v : values) v = normal(random);
  return values;
}

std::vector<std::uint8_t> quantized(DType type, const std::vector<float>& values) {
  std::vector<std::uint8_t> out(row_bytes(type, values.size()));
  quantize_row(type, values.data(), out.data(), values.size());
  return out;
}

std::vector<float> dequantized(DType type, const std::vector<std::uint8_t>& row, std::size_t n) {
  std::vector<float> out(n);
  dequantize_row(type, row.data(), out.data(), n);
  return out;
}

TEST(DType, NamesAndNumbersRoundTrip) {
  for (const DType type : kAll) {
    EXPECT_EQ(dtype_from_ggml(static_cast<std::uint32_t>(type)), type);
    EXPECT_EQ(dtype_from_name(traits(type).name), type);
  }
  EXPECT_EQ(dtype_from_name("Q4_K"), DType::kQ4_K);
  EXPECT_EQ(dtype_from_name("BF16"), DType::kBF16);
  EXPECT_FALSE(dtype_from_name("q4_k_m"));
  EXPECT_FALSE(dtype_from_name(""));
  EXPECT_FALSE(dtype_from_ggml(4));  // Q4_2, removed from the format
  EXPECT_FALSE(dtype_from_ggml(23));
  EXPECT_FALSE(dtype_from_ggml(0xFFFFFFFF));
  EXPECT_EQ(row_bytes(DType::kQ4_K, 2048), 1152u);
  EXPECT_EQ(row_bytes(DType::kQ8_0, 64), 68u);
}

TEST(DType, DequantizeEqualsReferenceToTheBit) {
  const Goldens goldens;
  int types = 0;
  for (const DType type : kAll) {
    if (type == DType::kF32) continue;
    const std::vector<float> expected = goldens.floats(name_of(type) + ".values");
    std::vector<float> actual(expected.size());
    dequantize_row(type, goldens.bytes(name_of(type) + ".raw").data(), actual.data(), actual.size());
    for (std::size_t i = 0; i < expected.size(); ++i) {
      ASSERT_EQ(actual[i], expected[i]) << name_of(type) << " element " << i;
    }
    ++types;
  }
  EXPECT_EQ(types, 12);
}

TEST(DType, QuantizeEqualsReferenceWhereItIsPlainRounding) {
  const Goldens goldens;
  const std::vector<float> input = goldens.floats("input");
  for (const DType type : kAll) {
    if (!goldens.has(name_of(type) + ".quantized")) continue;
    const auto expected = goldens.bytes(name_of(type) + ".quantized");
    const std::vector<std::uint8_t> actual = quantized(type, input);
    // A sum like x / d + 8.5 may round differently by one code where x lies on the border of two; no such case is in the golden input.
    EXPECT_TRUE(std::equal(actual.begin(), actual.end(), expected.begin(), expected.end())) << name_of(type);
  }
}

TEST(DType, RoundTripErrorStaysBelowTheTypesBound) {
  // Relative rms error on normal values; bounds are 2 % above llama.cpp's reference quantisers (0.2953, 0.1504, 0.0713, 0.0359, 0.0180 for
  // the K types on 16,384 normal values; single draws differ by 1 %).
  const std::map<DType, double> bounds = {{DType::kF16, 0.0003},  {DType::kBF16, 0.0018}, {DType::kQ4_0, 0.0885}, {DType::kQ4_1, 0.0800},
                                          {DType::kQ5_0, 0.0445}, {DType::kQ5_1, 0.0390}, {DType::kQ8_0, 0.0056}, {DType::kQ2_K, 0.3015},
                                          {DType::kQ3_K, 0.1550}, {DType::kQ4_K, 0.0728}, {DType::kQ5_K, 0.0367}, {DType::kQ6_K, 0.0185}};
  const std::vector<float> values = normal_values(256 * 64, 0.02f);
  double power = 0;
  for (const float v : values) power += static_cast<double>(v) * v;
  for (const auto& [type, bound] : bounds) {
    const std::vector<float> back = dequantized(type, quantized(type, values), values.size());
    double error = 0;
    for (std::size_t i = 0; i < values.size(); ++i) error += std::pow(static_cast<double>(back[i]) - values[i], 2);
    EXPECT_LT(std::sqrt(error / power), bound) << name_of(type);
    EXPECT_GT(std::sqrt(error / power), 0.3 * bound) << name_of(type) << ": the bound is too loose to mean anything";
  }
}

TEST(DType, QuantizingADequantizedRowChangesNothing) {
  // Holds where the scale follows from the extreme value alone, which the type represents exactly.
  const std::vector<float> values = normal_values(4096, 1.0f, 7);
  for (const DType type : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_0, DType::kQ5_0}) {
    const std::vector<std::uint8_t> once = quantized(type, values);
    EXPECT_EQ(quantized(type, dequantized(type, once, values.size())), once) << name_of(type);
  }
}

TEST(DType, EveryTypeSurvivesDegenerateRows) {
  const float infinity = std::numeric_limits<float>::infinity();
  std::vector<std::vector<float>> rows(7, std::vector<float>(256, 0.0f));
  std::fill(rows[1].begin(), rows[1].end(), 3.25f);
  std::fill(rows[2].begin(), rows[2].end(), -0.5f);
  rows[3] = normal_values(256, 1e-30f);
  rows[4] = normal_values(256, 1e30f);
  rows[5][7] = 1.0f;
  rows[6] = normal_values(256, 1.0f);
  rows[6][0] = infinity, rows[6][40] = -infinity, rows[6][80] = std::numeric_limits<float>::quiet_NaN();
  for (const DType type : kAll) {
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const std::vector<float> back = dequantized(type, quantized(type, rows[i]), 256);
      for (const float v : back) ASSERT_TRUE(std::isfinite(v)) << name_of(type) << " row " << i;
    }
    for (const float v : dequantized(type, quantized(type, rows[0]), 256)) EXPECT_EQ(v, 0.0f) << name_of(type);
    for (const float v : dequantized(type, quantized(type, rows[1]), 256)) EXPECT_NEAR(v, 3.25f, 0.02f) << name_of(type);
    for (const float v : dequantized(type, quantized(type, rows[2]), 256)) EXPECT_NEAR(v, -0.5f, 0.005f) << name_of(type);
  }
  // What is not finite counts as 0 and leaves its neighbours alone.
  std::vector<float> cleaned = rows[6];
  cleaned[0] = cleaned[40] = cleaned[80] = 0.0f;
  for (const DType type : kAll) EXPECT_EQ(quantized(type, rows[6]), quantized(type, cleaned)) << name_of(type);
}

TEST(DType, HalfPrecisionRoundTripsAllBits) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = f16_to_f32(static_cast<std::uint16_t>(bits));
    const std::uint32_t exponent = bits >> 10 & 31, mantissa = bits & 1023;
    if (exponent == 31) {
      EXPECT_EQ(std::isnan(value), mantissa != 0);
      EXPECT_EQ(std::isinf(value), mantissa == 0);
    } else {
      // The definition of the format, in exact arithmetic.
      const double expected = exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024.0 + mantissa, static_cast<int>(exponent) - 25);
      ASSERT_EQ(static_cast<double>(std::fabs(value)), expected) << bits;
      ASSERT_EQ(std::signbit(value), (bits & 0x8000) != 0);
    }
    if (!std::isnan(value)) {
      ASSERT_EQ(f32_to_f16(value), bits);
    }
  }
}

TEST(DType, HalfPrecisionRoundsToNearestEven) {
  // Between any two neighbours: below, at and above the middle.
  for (std::uint32_t bits = 0; bits < 0x7BFF; ++bits) {
    const float low = f16_to_f32(static_cast<std::uint16_t>(bits)), high = f16_to_f32(static_cast<std::uint16_t>(bits + 1));
    const float middle = (low + high) / 2;  // exact: f32 has 13 more bits
    ASSERT_EQ(f32_to_f16(middle), bits % 2 == 0 ? bits : bits + 1) << bits;
    ASSERT_EQ(f32_to_f16(std::nextafterf(middle, low)), bits);
    ASSERT_EQ(f32_to_f16(std::nextafterf(middle, high)), bits + 1);
  }
  EXPECT_EQ(f32_to_f16(65519.996f), 0x7BFF);
  EXPECT_EQ(f32_to_f16(65520.0f), 0x7C00);
  EXPECT_EQ(f32_to_f16(-1e30f), 0xFC00);
}

TEST(DType, Bfloat16RoundsToNearestEven) {
  EXPECT_EQ(f32_to_bf16(1.0f), 0x3F80);
  EXPECT_EQ(f32_to_bf16(std::bit_cast<float>(0x3F808000u)), 0x3F80);  // tie to even
  EXPECT_EQ(f32_to_bf16(std::bit_cast<float>(0x3F818000u)), 0x3F82);
  EXPECT_EQ(f32_to_bf16(std::bit_cast<float>(0x3F808001u)), 0x3F81);
  EXPECT_EQ(f32_to_bf16(std::numeric_limits<float>::infinity()), 0x7F80);
  EXPECT_TRUE(std::isnan(bf16_to_f32(f32_to_bf16(std::bit_cast<float>(0x7F800001u)))));
}

}  // namespace
}  // namespace gritstone
