// Read-only memory mapping of a regular file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

namespace gritstone {

// Owns the mapping; movable. Bytes stay valid for the object's life unless another process truncates the file (then SIGBUS: model
// files are expected to be replaced by rename, never rewritten in place).
class MappedFile {
 public:
  // Throws Error: kNotFound; kInvalidArgument if not a regular file; kStorage if it cannot be opened or mapped.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::uint8_t> bytes() const noexcept { return {data_, size_}; }
  std::size_t size() const noexcept { return size_; }

  // Tells the kernel that [offset, offset + length) will not be needed again soon, so that its pages leave this process's resident set.
  void release(std::size_t offset, std::size_t length) const noexcept;

 private:
  const std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace gritstone
