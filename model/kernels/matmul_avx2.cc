#include "model/kernels/matmul.h"

namespace gritstone {

// Until the AVX2 kernels arrive, the reference: right, and slow.
const MatmulKernels& matmul_avx2() noexcept { return matmul_scalar(); }

}  // namespace gritstone
