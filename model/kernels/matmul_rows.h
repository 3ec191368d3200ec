// kRows products: exact weights in f32, one loop nest compiled per ISA (matmul_rows_impl.h).
//
// Column 16 i + l of a row adds to partial sum l in ascending i (fused multiply-add); the sixteen partial sums are then added in halves:
// l and l + 8, + 4, + 2, + 1. Columns missing from the last sixteen count as zeros.
#pragma once

#include "model/kernels/matmul.h"

namespace gritstone {

void matmul_rows_avx2(const MatmulTask& task) noexcept;
void matmul_rows_avx512(const MatmulTask& task) noexcept;

}  // namespace gritstone
