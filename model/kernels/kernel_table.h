// All kernels of one instruction set, chosen once at start.
#pragma once

#include <string_view>
#include <vector>

#include "model/kernels/matmul.h"
#include "model/kernels/vector_kernels.h"

namespace gritstone {

struct KernelTable {
  std::string_view isa;  // "scalar", "avx2", "avx512"
  const MatmulKernels* matmul;
  const VectorKernels* vector;
};

// Tables this CPU can run, slowest (scalar) first.
std::vector<KernelTable> available_kernels();

// The best table, or the one named by `isa`; an empty name asks the environment variable GRITSTONE_SIMD, then the CPU.
// Throws Error(kInvalidArgument) if the name is unknown or the CPU lacks it.
KernelTable select_kernels(std::string_view isa);

}  // namespace gritstone
