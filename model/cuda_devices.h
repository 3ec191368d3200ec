// The GPUs of this machine, for `doctor` and for choosing one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace gritstone {

struct CudaDevice {
  std::string name;
  int major = 0, minor = 0;  // compute capability
  std::uint64_t memory = 0, free_memory = 0;
  int multiprocessors = 0;
};

struct CudaDevices {
  bool built_in = false;  // this build has the CUDA backend
  std::vector<CudaDevice> devices;
  std::string problem;  // why there are none; empty otherwise
};

// Never throws: what is wrong is in `problem`.
CudaDevices cuda_devices() noexcept;

}  // namespace gritstone
