#include "model/kernels/cuda/blas.h"

#include <cublas_v2.h>

namespace gritstone::cuda {
namespace {

// What NVIDIA advises for Hopper; smaller devices need less and take it.
constexpr std::size_t kWorkspaceBytes = std::size_t{32} << 20;

void check_blas(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw Error(ErrorCode::kDevice, std::string("cuBLAS: ") + what + ": " + cublasGetStatusString(status));
}

}  // namespace

Blas::Blas(Stream stream) : workspace_(kWorkspaceBytes) {
  cublasHandle_t handle = nullptr;
  check_blas(cublasCreate(&handle), "start");
  handle_ = handle;
  check_blas(cublasSetStream(handle, stream), "stream");
  check_blas(cublasSetWorkspace(handle, workspace_.data(), workspace_.bytes()), "workspace");
}

Blas::~Blas() {
  if (handle_ != nullptr) cublasDestroy(static_cast<cublasHandle_t>(handle_));
}

void Blas::linear(const DeviceMatrix& w, const bf16* x, std::uint32_t rows, float* y, bool add) {
  GS_CHECK(w.format == WeightFormat::kBF16 && w.experts == 1);
  const float alpha = 1.0f, beta = add ? 1.0f : 0.0f;
  const int outputs = static_cast<int>(w.rows), columns = static_cast<int>(w.cols), n = static_cast<int>(rows);
  // Row-major y = x W^T is column-major y' = W x', with the row-major W read as a transposed column-major matrix.
  check_blas(
      cublasGemmEx(static_cast<cublasHandle_t>(handle_), CUBLAS_OP_T, CUBLAS_OP_N, outputs, n, columns, &alpha, w.values, CUDA_R_16BF,
                   columns, x, CUDA_R_16BF, columns, &beta, y, CUDA_R_32F, outputs, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
      "matrix product");
}

void Blas::linear(const DeviceMatrix& w, const float* x, std::uint32_t rows, float* y) {
  GS_CHECK(w.format == WeightFormat::kF32 && w.experts == 1);
  const float alpha = 1.0f, beta = 0.0f;
  const int outputs = static_cast<int>(w.rows), columns = static_cast<int>(w.cols);
  check_blas(cublasGemmEx(static_cast<cublasHandle_t>(handle_), CUBLAS_OP_T, CUBLAS_OP_N, outputs, static_cast<int>(rows), columns, &alpha,
                          w.values, CUDA_R_32F, columns, x, CUDA_R_32F, columns, &beta, y, CUDA_R_32F, outputs, CUBLAS_COMPUTE_32F_PEDANTIC,
                          CUBLAS_GEMM_DEFAULT),
             "matrix product");
}

void Blas::inner_products(const __half* w, std::size_t rows, std::uint32_t cols, const __half* q, std::uint32_t queries, float* y,
                          std::size_t stride) {
  const float alpha = 1.0f, beta = 0.0f;
  const int columns = static_cast<int>(cols);
  check_blas(cublasGemmEx(static_cast<cublasHandle_t>(handle_), CUBLAS_OP_T, CUBLAS_OP_N, static_cast<int>(rows), static_cast<int>(queries),
                          columns, &alpha, w, CUDA_R_16F, columns, q, CUDA_R_16F, columns, &beta, y, CUDA_R_32F, static_cast<int>(stride),
                          CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
             "matrix product");
}

}  // namespace gritstone::cuda
