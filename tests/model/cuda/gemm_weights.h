// Random weights of every format for tests of the matrix products, beside the values they stand for.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "model/dtype.h"
#include "model/kernels/cuda/ops.h"
#include "tests/model/cuda/device_array.h"
#include "tests/model/cuda/random_values.h"

namespace gritstone::cuda {

struct FormatCase {
  WeightFormat format;
  std::uint32_t group;

  friend std::ostream& operator<<(std::ostream& out, const FormatCase& c) {
    const char* name = c.format == WeightFormat::kBF16 ? "bf16" : c.format == WeightFormat::kInt4 ? "int4" : "int8";
    return c.format == WeightFormat::kBF16 ? out << name : out << name << "_" << c.group;
  }
};
inline constexpr FormatCase kGemmFormats[] = {
    {WeightFormat::kBF16, 32}, {WeightFormat::kInt4, 16}, {WeightFormat::kInt4, 32}, {WeightFormat::kInt8, 16}, {WeightFormat::kInt8, 32}};

inline DeviceArray<half_bits> upload_halves(const std::vector<float>& values, HalfType type) {
  std::vector<half_bits> bits;
  for (const float v : values) bits.push_back(to_half(v, type));
  return DeviceArray<half_bits>(bits);
}

class TestWeights {
 public:
  TestWeights(const FormatCase& c, std::uint32_t experts, std::uint32_t rows, std::uint32_t cols, std::uint32_t seed) {
    const std::size_t count = std::size_t{experts} * rows * cols;
    view_ = {c.format, c.group, experts, rows, cols, nullptr, nullptr};
    std::vector<std::uint8_t> bytes;
    std::vector<std::uint16_t> pairs;
    if (c.format == WeightFormat::kBF16) {
      values_ = random_halves(seed, count, HalfType::kBF16);
      for (const float v : values_) {
        bytes.push_back(static_cast<std::uint8_t>(f32_to_bf16(v) & 255));
        bytes.push_back(static_cast<std::uint8_t>(f32_to_bf16(v) >> 8));
      }
    } else {
      const bool int4 = c.format == WeightFormat::kInt4;
      const std::vector<std::int32_t> codes = random_indices(seed, count, int4 ? 16 : 256);
      const std::vector<float> draws = random_values(seed + 1, count / c.group * 2);
      for (std::size_t p = 0; p < count / c.group; ++p) {
        pairs.push_back(f32_to_f16((int4 ? 0.2f : 0.012f) * (1 + 0.3f * std::abs(draws[2 * p]))));
        pairs.push_back(f32_to_f16((int4 ? -1.5f : 0.0f) + 0.3f * draws[2 * p + 1]));
      }
      bytes.assign(int4 ? count / 2 : count, 0);
      for (std::size_t i = 0; i < count; ++i) {
        const std::int32_t code = int4 ? codes[i] : codes[i] - 128;
        if (int4) {
          const std::size_t at = i / 32 * 16 + i % 16;
          bytes[at] = static_cast<std::uint8_t>(bytes[at] | code << (i % 32 < 16 ? 0 : 4));
        } else {
          bytes[i] = static_cast<std::uint8_t>(code);
        }
        const float scale = f16_to_f32(pairs[i / c.group * 2]), least = f16_to_f32(pairs[i / c.group * 2 + 1]);
        values_.push_back(f16_to_f32(f32_to_f16(std::fmaf(scale, static_cast<float>(code), least))));
      }
    }
    bytes_ = DeviceArray<std::uint8_t>(bytes);
    pairs_ = DeviceArray<std::uint16_t>(pairs);
    view_.values = bytes_.data();
    view_.pairs = reinterpret_cast<const __half2*>(pairs_.data());
  }

  const DeviceMatrix& view() const noexcept { return view_; }
  HalfType type() const noexcept { return half_type(view_.format); }  // of the activations that it meets
  // The inner product of a row with x, and the error it may have.
  struct Product {
    double sum = 0, error = 0;
  };
  Product product(std::size_t expert, std::size_t row, const float* x) const {
    const float* w = values_.data() + (expert * view_.rows + row) * view_.cols;
    Product p;
    for (std::size_t c = 0; c < view_.cols; ++c) {
      p.sum += double{w[c]} * double{x[c]};
      p.error += 4e-6 * std::abs(double{w[c]} * double{x[c]});
    }
    return p;
  }

 private:
  DeviceMatrix view_;
  std::vector<float> values_;  // as the products take them: rounded to type()
  DeviceArray<std::uint8_t> bytes_;
  DeviceArray<std::uint16_t> pairs_;
};

}  // namespace gritstone::cuda
