// The vector kernels for AVX512.
#include "model/kernels/target.h"
#include "model/kernels/vector_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

// clang-format off: the order is the point
GS_TARGET_BEGIN_AVX512
#include "model/kernels/vec16_avx512.h"
#define GS_VECTOR_TABLE vector_kernels_avx512
#include "model/kernels/vector_kernels_impl.h"
GS_TARGET_END
#endif
