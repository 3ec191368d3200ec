// Internal to the AVX-512 matmul files.
#pragma once

#include "model/kernels/matmul.h"

namespace gritstone {

void matmul_panels_avx512(const MatmulTask& task) noexcept;

}  // namespace gritstone
