#include "model/kernels/kernel_table.h"

#include <cstdlib>
#include <string>

#include "base/error.h"

namespace gritstone {
namespace {

#if defined(__x86_64__)
bool has_avx512() {
#if defined(GRITSTONE_EMULATE_AVX512)
  return true;
#else
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni");
#endif
}
#endif

}  // namespace

std::vector<KernelTable> available_kernels() {
  std::vector<KernelTable> tables{{"scalar", &matmul_scalar(), &vector_kernels_scalar()}};
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    tables.push_back({"avx2", &matmul_avx2(), &vector_kernels_avx2()});
  }
  if (has_avx512()) tables.push_back({"avx512", &matmul_avx512(), &vector_kernels_avx512()});
#endif
  return tables;
}

KernelTable select_kernels(std::string_view isa) {
  std::string wanted(isa);
  if (wanted.empty()) {
    const char* variable = std::getenv("GRITSTONE_SIMD");
    if (variable != nullptr) wanted = variable;
  }
  const std::vector<KernelTable> tables = available_kernels();
  if (wanted.empty()) return tables.back();
  std::string known;
  for (const KernelTable& table : tables) {
    if (table.isa == wanted) return table;
    known += known.empty() ? "" : ", ";
    known += table.isa;
  }
  throw Error(ErrorCode::kInvalidArgument, "instruction set \"" + wanted + "\" is not available here (available: " + known + ")");
}

}  // namespace gritstone
