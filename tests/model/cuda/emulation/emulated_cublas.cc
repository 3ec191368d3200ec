#include <vector>

#include "cublas_v2.h"
#include "cuda_bf16.h"
#include "cuda_fp16.h"

namespace {

float read(const void* data, cudaDataType type, std::size_t index) {
  if (type == CUDA_R_16BF) return static_cast<const __nv_bfloat16*>(data)[index];
  if (type == CUDA_R_16F) return static_cast<const __half*>(data)[index];
  return static_cast<const float*>(data)[index];
}
void write(void* data, cudaDataType type, std::size_t index, float value) {
  if (type == CUDA_R_16BF) {
    static_cast<__nv_bfloat16*>(data)[index] = value;
  } else if (type == CUDA_R_16F) {
    static_cast<__half*>(data)[index] = value;
  } else {
    static_cast<float*>(data)[index] = value;
  }
}

// op(x) [rows, columns] as f32; by_rows: row by row, else column by column.
std::vector<float> gather(const void* x, cudaDataType type, cublasOperation_t op, int ld, std::size_t rows, std::size_t columns,
                          bool by_rows) {
  std::vector<float> out(rows * columns);
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t j = 0; j < columns; ++j) {
      const auto stride = static_cast<std::size_t>(ld);
      out[by_rows ? i * columns + j : j * rows + i] = read(x, type, op == CUBLAS_OP_N ? j * stride + i : i * stride + j);
    }
  }
  return out;
}

}  // namespace

cublasStatus_t cublasCreate(cublasHandle_t* handle) {
  *handle = new cublasContext;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasDestroy(cublasHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetStream(cublasHandle_t, cudaStream_t) { return CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasSetWorkspace(cublasHandle_t, void*, std::size_t) { return CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasSetMathMode(cublasHandle_t, cublasMath_t) { return CUBLAS_STATUS_SUCCESS; }
const char* cublasGetStatusString(cublasStatus_t status) { return status == CUBLAS_STATUS_SUCCESS ? "success" : "error"; }

cublasStatus_t cublasGemmEx(cublasHandle_t, cublasOperation_t op_a, cublasOperation_t op_b, int m, int n, int k, const void* alpha,
                            const void* a, cudaDataType a_type, int lda, const void* b, cudaDataType b_type, int ldb, const void* beta,
                            void* c, cudaDataType c_type, int ldc, cublasComputeType_t, cublasGemmAlgo_t) {
  if (m < 0 || n < 0 || k < 0 || lda < (op_a == CUBLAS_OP_N ? m : k) || ldb < (op_b == CUBLAS_OP_N ? k : n) || ldc < m ||
      a_type != b_type) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  const auto rows = static_cast<std::size_t>(m), columns = static_cast<std::size_t>(n), depth = static_cast<std::size_t>(k);
  const std::vector<float> left = gather(a, a_type, op_a, lda, rows, depth, true);
  const std::vector<float> right = gather(b, b_type, op_b, ldb, depth, columns, false);
  const float scale = *static_cast<const float*>(alpha), keep = *static_cast<const float*>(beta);
  for (std::size_t j = 0; j < columns; ++j) {
    for (std::size_t i = 0; i < rows; ++i) {
      float sum = 0;
      for (std::size_t l = 0; l < depth; ++l) sum += left[i * depth + l] * right[j * depth + l];
      const std::size_t at = j * static_cast<std::size_t>(ldc) + i;
      // beta 0: what C held does not count, not even a NaN.
      write(c, c_type, at, scale * sum + (keep == 0.0f ? 0.0f : keep * read(c, c_type, at)));
    }
  }
  return CUBLAS_STATUS_SUCCESS;
}
