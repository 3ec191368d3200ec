// Large zeroed memory straight from the kernel, in huge pages where it has them: weights and KV pages.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gritstone {

// Owns `size` bytes, page-aligned and zero. Memory is committed when first touched.
class Buffer {
 public:
  Buffer() = default;
  // Throws Error(kMemoryBudget) if the address space cannot be had.
  explicit Buffer(std::size_t size);
  ~Buffer();
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  std::uint8_t* data() const noexcept { return data_; }
  float* floats() const noexcept { return reinterpret_cast<float*>(data_); }
  std::size_t size() const noexcept { return size_; }

 private:
  std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace gritstone
