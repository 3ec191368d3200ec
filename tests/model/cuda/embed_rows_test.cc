// Rows of an embedding table in every weight format, against the format's definition.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "model/kernels/cuda/ops.h"
#include "tests/model/cuda/device_array.h"
#include "tests/model/cuda/random_values.h"

namespace gritstone::cuda {
namespace {

constexpr std::uint32_t kVocab = 97;

// Looks up 5 tokens and compares with element(token, column).
template <class Element>
void expect_rows(const DeviceMatrix& table, const Element& element) {
  const std::vector<std::int32_t> tokens = {96, 0, 13, 13, 50};
  const DeviceArray<std::int32_t> token(tokens);
  const DeviceArray<float> x(tokens.size() * table.cols);
  embed_rows(nullptr, table, token.data(), static_cast<std::uint32_t>(tokens.size()), x.data());
  const std::vector<float> y = x.download();
  for (std::size_t r = 0; r < tokens.size(); ++r) {
    for (std::uint32_t c = 0; c < table.cols; ++c) {
      ASSERT_EQ(y[r * table.cols + c], element(static_cast<std::size_t>(tokens[r]), c)) << r << ", " << c;
    }
  }
}

DeviceMatrix matrix(WeightFormat format, std::uint32_t cols, const void* values) {
  DeviceMatrix m;
  m.format = format;
  m.rows = kVocab;
  m.cols = cols;
  m.values = values;
  return m;
}

TEST(EmbedRows, Floats) {
  GS_REQUIRE_DEVICE();
  for (const std::uint32_t cols : {8u, 64u, 576u, 2056u}) {
    const std::vector<float> values = random_values(cols, std::size_t{kVocab} * cols);
    const DeviceArray<float> device(values);
    expect_rows(matrix(WeightFormat::kF32, cols, device.data()), [&](std::size_t r, std::size_t c) { return values[r * cols + c]; });

    std::vector<bf16> rounded(values.size());
    for (std::size_t i = 0; i < values.size(); ++i) rounded[i] = __float2bfloat16_rn(values[i]);
    const DeviceArray<bf16> device_rounded(rounded);
    expect_rows(matrix(WeightFormat::kBF16, cols, device_rounded.data()),
                [&](std::size_t r, std::size_t c) { return __bfloat162float(rounded[r * cols + c]); });
  }
}

TEST(EmbedRows, Integers) {
  GS_REQUIRE_DEVICE();
  for (const std::uint32_t cols : {32u, 576u, 2048u}) {
    for (const std::uint32_t group : {16u, 32u}) {
      const std::size_t elements = std::size_t{kVocab} * cols;
      std::vector<__half2> pairs(elements / group);
      const std::vector<float> parameters = random_values(cols + group, 2 * pairs.size());
      for (std::size_t i = 0; i < pairs.size(); ++i) pairs[i] = __floats2half2_rn(parameters[2 * i], parameters[2 * i + 1]);
      const DeviceArray<__half2> device_pairs(pairs);
      const auto value = [&](std::size_t at, int code) {
        return std::fmaf(__low2float(pairs[at / group]), static_cast<float>(code), __high2float(pairs[at / group]));
      };
      for (const bool nibbles : {false, true}) {
        const std::vector<std::int32_t> codes = random_indices(cols, elements, nibbles ? 16 : 256);
        std::vector<std::uint8_t> bytes(nibbles ? elements / 2 : elements);
        for (std::size_t i = 0; i < elements; ++i) {
          if (nibbles) {
            std::uint8_t& byte = bytes[i / 32 * 16 + i % 16];
            byte = static_cast<std::uint8_t>(byte | codes[i] << (i % 32 < 16 ? 0 : 4));
          } else {
            bytes[i] = static_cast<std::uint8_t>(codes[i]);
          }
        }
        const DeviceArray<std::uint8_t> device(bytes);
        DeviceMatrix m = matrix(nibbles ? WeightFormat::kInt4 : WeightFormat::kInt8, cols, device.data());
        m.group = group;
        m.pairs = device_pairs.data();
        expect_rows(m, [&](std::size_t r, std::size_t c) {
          const int code = codes[r * cols + c];
          return value(r * cols + c, nibbles || code < 128 ? code : code - 256);
        });
      }
    }
  }
}

}  // namespace
}  // namespace gritstone::cuda
