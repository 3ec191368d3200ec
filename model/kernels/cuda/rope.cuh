// RoPE of one pair, with the same bits in every kernel: K of a slot is rotated where it is computed or where it is read from its page.
#pragma once

#include <cuda_runtime.h>

namespace gritstone::cuda {

__device__ inline float2 rotated(float a, float b, float cos, float sin) {
  return make_float2(fmaf(-b, sin, a * cos), fmaf(a, sin, b * cos));
}

}  // namespace gritstone::cuda
