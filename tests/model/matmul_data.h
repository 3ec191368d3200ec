// What the matmul tests share: the ISAs of this machine, random weights in every type, activations, and one call of a kernel.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <random>
#include <vector>

#include "model/kernels/kernel_table.h"
#include "model/kernels/matmul.h"

namespace gritstone::matmul_data {

enum class Isa { kScalar, kAvx2, kAvx512 };

inline const char* name(Isa isa) { return isa == Isa::kScalar ? "scalar" : isa == Isa::kAvx2 ? "avx2" : "avx512"; }

inline bool present(Isa isa) {
  const std::vector<KernelTable> tables = available_kernels();
  return std::any_of(tables.begin(), tables.end(), [&](const KernelTable& table) { return table.isa == name(isa); });
}

inline const MatmulKernels& kernels(Isa isa) {
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
inline std::vector<std::size_t> scale_offsets(DType type) {
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
inline std::vector<std::uint8_t> random_rows(DType type, std::size_t rows, std::size_t cols, std::mt19937& random) {
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

inline constexpr float kUntouched = -12345.0f;

// y [tokens, rows] of panels [begin, end); elements outside them stay kUntouched.
inline std::vector<float> multiply(Isa isa, const Matrix& w, const Activations& x, const std::vector<std::uint32_t>& x_rows,
                                   std::size_t begin, std::size_t end) {
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

inline std::vector<std::uint32_t> bits(const std::vector<float>& values) {
  std::vector<std::uint32_t> out(values.size());
  if (!values.empty()) std::memcpy(out.data(), values.data(), 4 * values.size());
  return out;
}

}  // namespace gritstone::matmul_data
