// One writer per store: an advisory lock on STORE/lock that the kernel drops with the process.
#pragma once

#include <filesystem>

namespace gritstone {

// Held from construction to destruction. Also excludes a second writer in the same process. Movable by unique_ptr only.
class WriteLock {
 public:
  // Throws Error: kLocked naming the process that holds it; kStorage if the file cannot be opened.
  explicit WriteLock(const std::filesystem::path& store);
  ~WriteLock();
  WriteLock(const WriteLock&) = delete;
  WriteLock& operator=(const WriteLock&) = delete;

 private:
  int fd_ = -1;
};

}  // namespace gritstone
