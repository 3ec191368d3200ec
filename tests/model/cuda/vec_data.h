// Random matrices in the device's formats, for tests of the vec ops, and x as those ops see it.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "model/dtype.h"
#include "model/kernels/cuda/ops.h"
#include "tests/model/cuda/device_array.h"

namespace gritstone::cuda {

struct VecFormat {
  WeightFormat format;
  std::uint32_t group;
};
inline constexpr VecFormat kVecFormats[] = {{WeightFormat::kF32, 32},  {WeightFormat::kBF16, 32}, {WeightFormat::kInt8, 32},
                                            {WeightFormat::kInt8, 16}, {WeightFormat::kInt4, 32}, {WeightFormat::kInt4, 16}};

inline std::vector<float> random_floats(std::size_t count, std::mt19937& random, float deviation = 1) {
  std::normal_distribution<float> normal(0, deviation);
  std::vector<float> values(count);
  for (float& v : values) v = normal(random);
  return values;
}

// A matrix on the device and its elements.
class VecMatrix {
 public:
  VecMatrix(VecFormat format, std::uint32_t experts, std::uint32_t rows, std::uint32_t cols, std::mt19937& random)
      : integers_(format.format == WeightFormat::kInt4 || format.format == WeightFormat::kInt8) {
    const std::size_t count = std::size_t{experts} * rows * cols;
    const float deviation = 1 / std::sqrt(static_cast<float>(cols));
    std::vector<std::uint8_t> bytes;
    values_ = random_floats(count, random, deviation);
    if (format.format == WeightFormat::kF32) {
      bytes.resize(count * 4);
      std::memcpy(bytes.data(), values_.data(), bytes.size());
    } else if (format.format == WeightFormat::kBF16) {
      bytes.resize(count * 2);
      for (std::size_t i = 0; i < count; ++i) {
        const std::uint16_t bits = f32_to_bf16(values_[i]);
        std::memcpy(bytes.data() + 2 * i, &bits, 2);
        values_[i] = std::bit_cast<float>(std::uint32_t{bits} << 16);
      }
    } else {
      const bool four = format.format == WeightFormat::kInt4;
      bytes.resize(four ? count / 2 : count);
      std::uniform_int_distribution<int> code(four ? 0 : -128, four ? 15 : 127);
      std::uniform_real_distribution<float> part(0.5f, 1.5f);
      std::vector<std::uint16_t> pairs;
      for (std::size_t i = 0; i < count; ++i) {
        if (i % format.group == 0) {
          pairs.push_back(f32_to_f16(part(random) * deviation / (four ? 5 : 70)));
          pairs.push_back(f32_to_f16((part(random) - (four ? 2 : 1)) * deviation));
        }
        const int c = code(random);
        if (four) {
          bytes[i / 32 * 16 + i % 16] |= static_cast<std::uint8_t>(i % 32 < 16 ? c : c << 4);
        } else {
          bytes[i] = static_cast<std::uint8_t>(c);
        }
        values_[i] = f16_to_f32(pairs.back()) + f16_to_f32(pairs[pairs.size() - 2]) * static_cast<float>(c);
      }
      pairs_ = DeviceArray<std::uint16_t>(pairs);
    }
    bytes_ = DeviceArray<std::uint8_t>(bytes);
    matrix_ = {format.format, format.group, experts, rows, cols, bytes_.data(), reinterpret_cast<const __half2*>(pairs_.data())};
  }

  const DeviceMatrix& matrix() const noexcept { return matrix_; }

  // Row `row` of expert `expert` times x, of which the integer formats see a rounded form.
  double dot(std::size_t expert, std::size_t row, const std::vector<double>& x) const {
    const float* w = values_.data() + (expert * matrix_.rows + row) * matrix_.cols;
    double sum = 0;
    for (std::size_t i = 0; i < x.size(); ++i) sum += double{w[i]} * x[i];
    return sum;
  }
  std::vector<double> seen(std::vector<double> x) const {
    if (!integers_) return x;
    for (std::size_t begin = 0; begin < x.size(); begin += 32) {
      double top = 0;
      for (std::size_t i = begin; i < begin + 32; ++i) top = std::max(top, std::fabs(x[i]));
      for (std::size_t i = begin; i < begin + 32 && top > 0; ++i) x[i] = std::nearbyint(x[i] * 127 / top) * top / 127;
    }
    return x;
  }
  // What the result may be off by, for x about 1: in the integer formats a code of x may round to its neighbour.
  double tolerance() const noexcept { return integers_ ? 0.1 / std::sqrt(static_cast<double>(matrix_.cols)) : 1e-5; }

 private:
  bool integers_;
  std::vector<float> values_;
  DeviceArray<std::uint8_t> bytes_;
  DeviceArray<std::uint16_t> pairs_;
  DeviceMatrix matrix_;
};

// Row `row` of x [rows, cols], normalised if weight is not empty.
inline std::vector<double> normed_row(const std::vector<float>& x, std::size_t row, std::size_t cols, const std::vector<float>& weight,
                                      double eps) {
  const auto begin = x.begin() + static_cast<std::ptrdiff_t>(row * cols);
  std::vector<double> values(begin, begin + static_cast<std::ptrdiff_t>(cols));
  if (weight.empty()) return values;
  double squares = 0;
  for (const double v : values) squares += v * v;
  const double scale = 1 / std::sqrt(squares / static_cast<double>(cols) + eps);
  for (std::size_t i = 0; i < cols; ++i) values[i] *= scale * double{weight[i]};
  return values;
}

}  // namespace gritstone::cuda
