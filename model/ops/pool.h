// Weighted sums of rows: what an embedding is made of.
#pragma once

#include <cstddef>

namespace gritstone {

// Rows [row, row + rows) of a step, whose states are to be added to `sums` [width] with weights first_weight, first_weight + weight_step,
// ... In double and one row after the other, so that a text's sums do not depend on how steps cut it.
struct PoolRows {
  std::size_t row = 0;
  std::size_t rows = 0;
  double first_weight = 1;
  double weight_step = 0;
  double* sums = nullptr;
};

// Columns [column, column + count) of `pool`'s rows of states [.., width].
void add_pool_rows(const float* states, std::size_t width, const PoolRows& pool, std::size_t column, std::size_t count) noexcept;

}  // namespace gritstone
