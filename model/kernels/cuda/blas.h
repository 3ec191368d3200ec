// cuBLAS behind one call: the dense products of many rows.
#pragma once

#include <cstdint>

#include "model/kernels/cuda/device.h"
#include "model/kernels/cuda/ops.h"

namespace gritstone::cuda {

// Owns a cuBLAS handle and its workspace. Not thread-safe.
class Blas {
 public:
  explicit Blas(Stream stream);
  ~Blas();
  Blas(const Blas&) = delete;
  Blas& operator=(const Blas&) = delete;

  // y [rows, w.rows] (+)= x W^T with f32 sums. w is bf16 (or f32 in the second form: f32 throughout) and one expert.
  void linear(const DeviceMatrix& w, const half_bits* x, std::uint32_t rows, float* y, bool add);
  void linear(const DeviceMatrix& w, const float* x, std::uint32_t rows, float* y);

  // y [queries, rows] = q W^T for f16 w [rows, cols] and q [queries, cols], f32 sums. y's rows are `stride` floats apart.
  void inner_products(const __half* w, std::size_t rows, std::uint32_t cols, const __half* q, std::uint32_t queries, float* y,
                      std::size_t stride);

 private:
  void* handle_ = nullptr;
  DeviceBuffer workspace_;
};

}  // namespace gritstone::cuda
