#include "base/error.h"
#include "model/kernels/cuda/device.h"
#include "model/kernels/cuda/tensor_map.h"

namespace gritstone::cuda {

#ifdef GRITSTONE_EMULATE_CUDA

CUtensorMap tensor_map(const void* values, std::uint64_t rows, std::uint32_t cols, std::uint32_t box_rows) {
  GS_CHECK(reinterpret_cast<std::uintptr_t>(values) % 16 == 0 && cols % 8 == 0 && box_rows <= 256);
  return {static_cast<const std::uint16_t*>(values), static_cast<std::uint32_t>(rows), cols, box_rows};
}

#else

CUtensorMap tensor_map(const void* values, std::uint64_t rows, std::uint32_t cols, std::uint32_t box_rows) {
  // Through the runtime, so that nothing links to the driver's library, which machines without a GPU lack.
  static const auto encode = [] {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult found{};
    check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &found),
          "cuTensorMapEncodeTiled");
    if (found != cudaDriverEntryPointSuccess) throw Error(ErrorCode::kDevice, "CUDA: the driver has no cuTensorMapEncodeTiled");
    return reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(function);
  }();
  const cuuint64_t sizes[2] = {cols, rows}, row_bytes[1] = {std::uint64_t{cols} * 2};
  const cuuint32_t box[2] = {64, box_rows}, strides[2] = {1, 1};
  CUtensorMap map;
  const CUresult status = encode(&map, CU_TENSOR_MAP_DATA_TYPE_UINT16, 2, const_cast<void*>(values), sizes, row_bytes, box, strides,
                                 CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                                 CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS) throw Error(ErrorCode::kDevice, "CUDA: cuTensorMapEncodeTiled: error " + std::to_string(status));
  return map;
}

#endif

}  // namespace gritstone::cuda
