#include "model/buffer.h"

#include <sys/mman.h>

#include <string>
#include <utility>

#include "base/error.h"

namespace gritstone {

Buffer::Buffer(std::size_t size) : size_(size) {
  if (size == 0) return;
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    throw Error(ErrorCode::kMemoryBudget, "cannot reserve " + std::to_string(size >> 20) + " MiB of memory");
  }
  // Only a hint: with 4 KiB pages a decode step over 4 GB of weights misses the TLB on every page.
  ::madvise(memory, size, MADV_HUGEPAGE);
  data_ = static_cast<std::uint8_t*>(memory);
}

Buffer::~Buffer() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

Buffer::Buffer(Buffer&& other) noexcept : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

}  // namespace gritstone
