#include "model/kernels/matmul.h"

namespace gritstone {

// Until the AVX512 kernels arrive, the reference: right, and slow.
const MatmulKernels& matmul_avx512() noexcept { return matmul_scalar(); }

}  // namespace gritstone
