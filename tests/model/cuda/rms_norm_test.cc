// RMSNorm of chosen rows against double sums.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "model/kernels/cuda/ops.h"
#include "tests/model/cuda/device_array.h"
#include "tests/model/cuda/random_values.h"

namespace gritstone::cuda {
namespace {

TEST(RmsNorm, MatchesItsDefinition) {
  GS_REQUIRE_DEVICE();
  constexpr std::uint32_t kRows = 7, kOf = 11;
  constexpr float kEps = 1e-5f;
  for (const std::uint32_t width : {4u, 64u, 576u, 1028u, 2048u, 4096u}) {
    const std::vector<float> x = random_values(width, kOf * width), weight = random_values(width + 1, width);
    const std::vector<std::int32_t> chosen = random_indices(width, kRows, kOf);
    const DeviceArray<float> device_x(x), device_weight(weight), plain(kRows * width), indexed(kRows * width);
    const DeviceArray<std::int32_t> index(chosen);
    const HalfType type = width % 8 == 0 ? HalfType::kF16 : HalfType::kBF16;
    const DeviceArray<half_bits> rounded(kRows * width);
    rms_norm(nullptr, device_x.data(), index.data(), kRows, width, device_weight.data(), kEps, rounded.data(), type, indexed.data());
    rms_norm(nullptr, device_x.data(), nullptr, kRows, width, device_weight.data(), kEps, nullptr, type, plain.data());
    const std::vector<float> by_index = indexed.download(), in_order = plain.download();
    const std::vector<half_bits> halves = rounded.download();
    for (std::uint32_t r = 0; r < kRows; ++r) {
      const auto expect_row = [&](const float* y, std::size_t from) {
        double squares = 0;
        for (std::uint32_t c = 0; c < width; ++c) squares += double{x[from * width + c]} * double{x[from * width + c]};
        const double scale = 1 / std::sqrt(squares / width + double{kEps});
        for (std::uint32_t c = 0; c < width; ++c) {
          const double expected = double{x[from * width + c]} * scale * double{weight[c]};
          ASSERT_NEAR(y[c], expected, 1e-6 + 1e-5 * std::abs(expected)) << width << ": " << r << ", " << c;
        }
      };
      expect_row(by_index.data() + r * width, static_cast<std::size_t>(chosen[r]));
      expect_row(in_order.data() + r * width, r);
    }
    for (std::size_t i = 0; i < halves.size(); ++i) {
      ASSERT_EQ(halves[i], type == HalfType::kF16 ? f32_to_f16(by_index[i]) : f32_to_bf16(by_index[i]));
    }
  }
}

TEST(RmsNorm, WhatF16CannotHoldBecomesItsLargest) {
  GS_REQUIRE_DEVICE();
  const DeviceArray<float> x(std::vector<float>{1, -1, 1, 1}), weight(std::vector<float>{1e6f, 1e6f, 7e4f, 3});
  const DeviceArray<half_bits> y(4);
  rms_norm(nullptr, x.data(), nullptr, 1, 4, weight.data(), 0, y.data(), HalfType::kF16, nullptr);
  const std::vector<half_bits> got = y.download();
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(f16_to_f32(got[i]), (std::vector<float>{65504, -65504, 65504, 3})[i]) << i;
}

}  // namespace
}  // namespace gritstone::cuda
