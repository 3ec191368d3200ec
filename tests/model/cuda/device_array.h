// For tests of kernels: arrays on the device, and the skip where there is none. Works with the CUDA runtime and with its emulation.
#pragma once

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <vector>

#include "model/kernels/cuda/device.h"

namespace gritstone::cuda {

// Skips the test where no device is present.
#define GS_REQUIRE_DEVICE()                                                                                  \
  do {                                                                                                       \
    int gs_devices = 0;                                                                                      \
    if (cudaGetDeviceCount(&gs_devices) != cudaSuccess || gs_devices == 0) GTEST_SKIP() << "no CUDA device"; \
  } while (false)

// Values on the device. Copies wait for everything queued before.
template <typename T>
class DeviceArray {
 public:
  DeviceArray() = default;
  // Every byte is 0xFF: NaN as f32, bf16 and f16, -1 as an integer.
  explicit DeviceArray(std::size_t size) : size_(size), buffer_(size * sizeof(T)) {
    if (size > 0) check(cudaMemset(buffer_.data(), 0xFF, size * sizeof(T)), "fill");
  }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) { upload(values); }

  void upload(const std::vector<T>& values) {
    GS_CHECK(values.size() == size_);
    if (size_ > 0) check(cudaMemcpy(buffer_.data(), values.data(), size_ * sizeof(T), cudaMemcpyHostToDevice), "upload");
  }
  std::vector<T> download() const {
    std::vector<T> values(size_);
    check(cudaDeviceSynchronize(), "kernels before a download");
    if (size_ > 0) check(cudaMemcpy(values.data(), buffer_.data(), size_ * sizeof(T), cudaMemcpyDeviceToHost), "download");
    return values;
  }

  T* data() const noexcept { return buffer_.as<T>(); }
  std::size_t size() const noexcept { return size_; }

 private:
  std::size_t size_ = 0;
  DeviceBuffer buffer_;
};

}  // namespace gritstone::cuda
