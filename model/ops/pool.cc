#include "model/ops/pool.h"

namespace gritstone {

void add_pool_rows(const float* states, std::size_t width, const PoolRows& pool, std::size_t column, std::size_t count) noexcept {
  double* const sums = pool.sums + column;
  double weight = pool.first_weight;
  for (std::size_t i = 0; i < pool.rows; ++i, weight += pool.weight_step) {
    const float* const row = states + (pool.row + i) * width + column;
    for (std::size_t c = 0; c < count; ++c) sums[c] += weight * static_cast<double>(row[c]);
  }
}

}  // namespace gritstone
