#include "model/kernels/cuda/blas.h"

#include <cublas_v2.h>

#include <string>
#include <type_traits>
#ifndef GRITSTONE_EMULATE_CUDA
#include <dlfcn.h>
#define GS_TEXT(x) #x
#define GS_TEXT_OF(x) GS_TEXT(x)
#endif

namespace gritstone::cuda {
namespace {

// What NVIDIA advises for Hopper; smaller devices need less and take it.
constexpr std::size_t kWorkspaceBytes = std::size_t{32} << 20;

struct Cublas {
  cublasStatus_t (*create)(cublasHandle_t*) = nullptr;
  cublasStatus_t (*destroy)(cublasHandle_t) = nullptr;
  cublasStatus_t (*set_stream)(cublasHandle_t, cudaStream_t) = nullptr;
  cublasStatus_t (*set_workspace)(cublasHandle_t, void*, std::size_t) = nullptr;
  cublasStatus_t (*gemm)(cublasHandle_t, cublasOperation_t, cublasOperation_t, int, int, int, const void*, const void*, cudaDataType, int,
                         const void*, cudaDataType, int, const void*, void*, cudaDataType, int, cublasComputeType_t,
                         cublasGemmAlgo_t) = nullptr;
  const char* (*status_string)(cublasStatus_t) = nullptr;
};

#ifdef GRITSTONE_EMULATE_CUDA
Cublas load_cublas() { return {cublasCreate, cublasDestroy, cublasSetStream, cublasSetWorkspace, cublasGemmEx, cublasGetStatusString}; }
#else
// Opened when a model goes to a GPU: the library and its kernels take a fifth of a second to load, which no other command should wait for.
Cublas load_cublas() {
  void* library = dlopen("libcublas.so." GS_TEXT_OF(CUBLAS_VER_MAJOR), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) library = dlopen(GRITSTONE_CUBLAS, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) throw Error(ErrorCode::kDevice, std::string("cuBLAS cannot be loaded: ") + dlerror());
  const auto find = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)> >(dlsym(library, name));
    if (function == nullptr) throw Error(ErrorCode::kDevice, std::string("cuBLAS has no ") + name);
  };
  Cublas cublas;
  find(cublas.create, "cublasCreate_v2");
  find(cublas.destroy, "cublasDestroy_v2");
  find(cublas.set_stream, "cublasSetStream_v2");
  find(cublas.set_workspace, "cublasSetWorkspace_v2");
  find(cublas.gemm, "cublasGemmEx");
  find(cublas.status_string, "cublasGetStatusString");
  return cublas;
}
#endif

const Cublas& cublas() {
  static const Cublas loaded = load_cublas();
  return loaded;
}

void check_blas(cublasStatus_t status, const char* what) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw Error(ErrorCode::kDevice, std::string("cuBLAS: ") + what + ": " + cublas().status_string(status));
}

// Row-major y = x W^T is column-major y' = W x', with the row-major W read as a transposed column-major matrix.
void multiply(void* handle, const void* w, std::size_t outputs, std::size_t columns, const void* x, std::size_t rows, cudaDataType type,
              float* y, std::size_t stride, bool add, cublasComputeType_t compute) {
  const float alpha = 1.0f, beta = add ? 1.0f : 0.0f;
  const int k = static_cast<int>(columns);
  check_blas(cublas().gemm(static_cast<cublasHandle_t>(handle), CUBLAS_OP_T, CUBLAS_OP_N, static_cast<int>(outputs), static_cast<int>(rows),
                           k, &alpha, w, type, k, x, type, k, &beta, y, CUDA_R_32F, static_cast<int>(stride), compute, CUBLAS_GEMM_DEFAULT),
             "matrix product");
}

}  // namespace

Blas::Blas(Stream stream) : workspace_(kWorkspaceBytes) {
  cublasHandle_t handle = nullptr;
  check_blas(cublas().create(&handle), "start");
  handle_ = handle;
  check_blas(cublas().set_stream(handle, stream), "stream");
  check_blas(cublas().set_workspace(handle, workspace_.data(), workspace_.bytes()), "workspace");
}

Blas::~Blas() {
  if (handle_ != nullptr) cublas().destroy(static_cast<cublasHandle_t>(handle_));
}

void Blas::linear(const DeviceMatrix& w, const half_bits* x, std::uint32_t rows, float* y, bool add) {
  GS_CHECK(w.format == WeightFormat::kBF16 && w.experts == 1);
  multiply(handle_, w.values, w.rows, w.cols, x, rows, CUDA_R_16BF, y, w.rows, add, CUBLAS_COMPUTE_32F);
}

void Blas::linear(const DeviceMatrix& w, const float* x, std::uint32_t rows, float* y) {
  GS_CHECK(w.format == WeightFormat::kF32 && w.experts == 1);
  multiply(handle_, w.values, w.rows, w.cols, x, rows, CUDA_R_32F, y, w.rows, false, CUBLAS_COMPUTE_32F_PEDANTIC);
}

void Blas::inner_products(const __half* w, std::size_t rows, std::uint32_t cols, const __half* q, std::uint32_t queries, float* y,
                          std::size_t stride) {
  multiply(handle_, w, rows, cols, q, queries, CUDA_R_16F, y, stride, false, CUBLAS_COMPUTE_32F);
}

}  // namespace gritstone::cuda
