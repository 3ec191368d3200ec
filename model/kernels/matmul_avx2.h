// Internal to the AVX2 matmul files.
#pragma once

#include "model/kernels/matmul.h"

namespace gritstone {

void matmul_panels_avx2(const MatmulTask& task) noexcept;

}  // namespace gritstone
