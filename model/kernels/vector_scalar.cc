// The vector kernels in plain C++.
#include "model/kernels/vec16_scalar.h"
#include "model/kernels/vector_kernels.h"

#define GS_VECTOR_TABLE vector_kernels_scalar
#include "model/kernels/vector_kernels_impl.h"

namespace gritstone {

std::size_t attention_scratch(std::size_t head_dim, std::size_t queries) noexcept {
  const std::size_t stride = padded(head_dim);
  return 2 * kKvBlock * stride + 2 * queries * stride + queries * sizeof(Softmax) / sizeof(float);
}

}  // namespace gritstone
