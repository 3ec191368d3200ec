#include "model/cuda_devices.h"

#include <cuda_runtime.h>

namespace gritstone {

CudaDevices cuda_devices() noexcept {
  CudaDevices found;
  found.built_in = true;
  int count = 0;
  cudaError_t status = cudaGetDeviceCount(&count);
  for (int i = 0; status == cudaSuccess && i < count; ++i) {
    cudaDeviceProp properties{};
    std::size_t free = 0, total = 0;
    status = cudaGetDeviceProperties(&properties, i);
    if (status == cudaSuccess) status = cudaSetDevice(i);
    if (status == cudaSuccess) status = cudaMemGetInfo(&free, &total);
    if (status != cudaSuccess) break;
    CudaDevice& device = found.devices.emplace_back();
    device.name = properties.name;
    device.major = properties.major;
    device.minor = properties.minor;
    device.memory = total;
    device.free_memory = free;
    device.multiprocessors = properties.multiProcessorCount;
  }
  if (status == cudaSuccess && count > 0) status = cudaSetDevice(0);
  if (status != cudaSuccess) {
    found.problem = cudaGetErrorString(status);
    cudaGetLastError();  // so that the next call does not report it again
  }
  return found;
}

}  // namespace gritstone
