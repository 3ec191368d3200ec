#include "index/write_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "base/error.h"

namespace gritstone {

WriteLock::WriteLock(const std::filesystem::path& store) {
  const std::filesystem::path path = store / "lock";
  fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd_ < 0) throw Error(ErrorCode::kStorage, "cannot open the lock " + path.string() + ": " + std::strerror(errno));
  if (::flock(fd_, LOCK_EX | LOCK_NB) == 0) {
    const std::string pid = std::to_string(::getpid()) + "\n";
    // Only a hint for the error message of others, so a failed write (full disk) is no reason to stop.
    if (::ftruncate(fd_, 0) == 0) [[maybe_unused]]
      const ssize_t n = ::pwrite(fd_, pid.data(), pid.size(), 0);
    return;
  }
  const int error = errno;
  char holder[32] = {};
  const ssize_t n = ::pread(fd_, holder, sizeof(holder) - 1, 0);
  ::close(fd_);
  fd_ = -1;
  if (error != EWOULDBLOCK) throw Error(ErrorCode::kStorage, "cannot lock " + path.string() + ": " + std::strerror(error));
  std::string who(holder, n > 0 ? static_cast<std::size_t>(n) : 0);
  while (!who.empty() && who.back() == '\n') who.pop_back();
  throw Error(ErrorCode::kLocked,
              "store " + store.string() + " is being written by " + (who.empty() ? "another process" : "process " + who));
}

WriteLock::~WriteLock() {
  if (fd_ < 0) return;
  [[maybe_unused]] const int ignored = ::ftruncate(fd_, 0);
  ::close(fd_);
}

}  // namespace gritstone
