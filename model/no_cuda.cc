// In place of model/cuda_*.cc where the build has no CUDA Toolkit.
#include "base/error.h"
#include "model/backend.h"
#include "model/cuda_devices.h"
#include "model/device_search.h"

namespace gritstone {

CudaDevices cuda_devices() noexcept {
  CudaDevices none;
  none.problem = "this build has no CUDA backend";
  return none;
}

std::unique_ptr<Backend> make_cuda_backend(const ModelFile&, const EngineOptions&) {
  throw Error(ErrorCode::kInvalidArgument, "this build has no CUDA backend (configure with -DGRITSTONE_CUDA=ON)");
}

std::unique_ptr<DeviceSearch> make_device_search(std::span<const float>, std::size_t) {
  throw Error(ErrorCode::kInvalidArgument, "this build has no CUDA backend (configure with -DGRITSTONE_CUDA=ON)");
}

}  // namespace gritstone
