// Matmuls of one step, cut into tasks for the threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "model/ops/context.h"

namespace gritstone {

// One product y = W x of a group that may run at the same time. Fields as in MatmulTask.
struct Product {
  const Matrix* w = nullptr;
  const Activations* x = nullptr;
  const std::uint32_t* x_rows = nullptr;
  std::size_t tokens = 0;
  float* y = nullptr;
  std::size_t y_stride = 0;
};

// Runs all products of the group. Throws nothing; GS_CHECKs shapes. Products must not overlap in y.
void run_products(OpContext& context, const std::vector<Product>& products);

// y = W x for one matrix.
void linear(OpContext& context, const Matrix& w, const Activations& x, float* y, std::size_t y_stride);

}  // namespace gritstone
