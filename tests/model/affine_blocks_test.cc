// Every block type in the device's formats: the same values up to the rounding of scales to f16.
#include "model/affine_blocks.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

namespace gritstone {
namespace {

constexpr std::size_t kColumns = 512;

float element(const AffineFormat& format, const std::vector<std::uint8_t>& codes, const std::vector<std::uint16_t>& pairs, std::size_t i) {
  int code = static_cast<std::int8_t>(codes[format.bits == 8 ? i : 0]);
  if (format.bits == 4) {
    const std::uint8_t byte = codes[i / 32 * 16 + i % 16];
    code = i % 32 < 16 ? byte & 15 : byte >> 4;
  }
  const std::size_t group = i / format.group;
  return f16_to_f32(pairs[2 * group + 1]) + f16_to_f32(pairs[2 * group]) * static_cast<float>(code);
}

class AffineBlocks : public testing::TestWithParam<DType> {};

TEST_P(AffineBlocks, HoldTheSameValues) {
  const DType type = GetParam();
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0.01f, 0.05f);
  std::vector<float> values(kColumns), decoded(kColumns);
  for (float& value : values) value = normal(random);
  for (std::size_t i = 64; i < 96; ++i) values[i] = 0.0f;  // a group whose scale is 0
  std::vector<std::uint8_t> row(row_bytes(type, kColumns));
  quantize_row(type, values.data(), row.data(), kColumns);
  dequantize_row(type, row.data(), decoded.data(), kColumns);

  const AffineFormat own = affine_format(type).value();
  for (const AffineFormat& format : {own, common_format(own, {8, 32}), common_format(own, {8, 16})}) {
    SCOPED_TRACE(std::to_string(format.bits) + " bits, groups of " + std::to_string(format.group));
    std::vector<std::uint8_t> codes(affine_code_bytes(format, kColumns), 0xEE);
    std::vector<std::uint16_t> pairs(kColumns / format.group * 2, 0xEEEE);
    affine_row(type, row.data(), kColumns, format, codes.data(), pairs.data());
    for (std::size_t i = 0; i < kColumns; ++i) {
      // Scale and minimum are off by 2^-11 each; both may be larger than their sum.
      const float largest = *std::max_element(decoded.begin(), decoded.end()) - *std::min_element(decoded.begin(), decoded.end());
      ASSERT_NEAR(element(format, codes, pairs, i), decoded[i], largest * 0x1p-10f) << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, AffineBlocks,
                         testing::Values(DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1, DType::kQ8_0, DType::kQ2_K, DType::kQ3_K,
                                         DType::kQ4_K, DType::kQ5_K, DType::kQ6_K),
                         [](const auto& type) { return std::string(traits(type.param).name); });

TEST(AffineBlocks, FloatTypesHaveNone) {
  for (const DType type : {DType::kF32, DType::kF16, DType::kBF16}) EXPECT_FALSE(affine_format(type).has_value());
}

}  // namespace
}  // namespace gritstone
