#include "base/checked_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace gritstone {
namespace {

[[noreturn]] void fail(const char* what, const std::filesystem::path& path, int error) {
  throw Error(ErrorCode::kStorage, std::string("cannot ") + what + " " + path.string() + ": " + std::strerror(error));
}

}  // namespace

CheckedFileWriter::CheckedFileWriter(const std::filesystem::path& path) : path_(path) {
  // Process id and number keep two writers of one path apart, threads included: with one name for both, the first to commit would rename
  // what the second has only begun. O_EXCL and O_NOFOLLOW refuse a planted file or link.
  static std::atomic<std::uint64_t> writers{0};
  temporary_ = path;
  temporary_ += ".tmp." + std::to_string(::getpid()) + "." + std::to_string(writers++);
  fd_ = ::open(temporary_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd_ < 0 && errno == EEXIST) {
    // A leftover of a crashed process that had our id.
    ::unlink(temporary_.c_str());
    fd_ = ::open(temporary_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  }
  if (fd_ < 0) fail("create", temporary_, errno);
}

CheckedFileWriter::~CheckedFileWriter() {
  if (fd_ >= 0) ::close(fd_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void CheckedFileWriter::write(std::span<const std::uint8_t> bytes) {
  write_at(offset_, bytes);
  offset_ += bytes.size();
}

void CheckedFileWriter::write_at(std::uint64_t offset, std::span<const std::uint8_t> bytes) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::pwrite(fd_, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
    if (n < 0) {
      if (errno == EINTR) continue;
      fail("write", path_, errno);
    }
    done += static_cast<std::size_t>(n);
  }
}

void CheckedFileWriter::commit() {
  if (::fsync(fd_) != 0) fail("sync", path_, errno);
  const int fd = std::exchange(fd_, -1);
  if (::close(fd) != 0) fail("close", path_, errno);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail("rename into", path_, errno);
  temporary_.clear();
  const std::filesystem::path directory = path_.has_parent_path() ? path_.parent_path() : std::filesystem::path(".");
  const int dir_fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (dir_fd < 0) fail("open", directory, errno);
  const int result = ::fsync(dir_fd);
  const int error = errno;
  ::close(dir_fd);
  if (result != 0) fail("sync", directory, error);
}

void write_file_atomically(const std::filesystem::path& path, std::span<const std::uint8_t> bytes) {
  CheckedFileWriter writer(path);
  writer.write(bytes);
  writer.commit();
}

std::string read_file(const std::filesystem::path& path, std::uint64_t max_bytes) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    const int error = errno;
    throw Error(error == ENOENT || error == ENOTDIR ? ErrorCode::kNotFound : ErrorCode::kStorage,
                "cannot open " + path.string() + ": " + std::strerror(error));
  }
  struct Closer {
    int fd;
    ~Closer() { ::close(fd); }
  } closer{fd};
  struct stat status {};
  if (::fstat(fd, &status) != 0 || !S_ISREG(status.st_mode))
    throw Error(ErrorCode::kInvalidArgument, path.string() + " is not a regular file");
  if (static_cast<std::uint64_t>(status.st_size) > max_bytes) {
    throw Error(ErrorCode::kInvalidArgument,
                path.string() + " has " + std::to_string(status.st_size) + " bytes, more than the limit of " + std::to_string(max_bytes));
  }
  std::string content(static_cast<std::size_t>(status.st_size), '\0');
  std::size_t done = 0;
  while (done < content.size()) {
    const ssize_t n = ::read(fd, content.data() + done, content.size() - done);
    if (n < 0) {
      if (errno == EINTR) continue;
      fail("read", path, errno);
    }
    if (n == 0) break;  // shrank while being read
    done += static_cast<std::size_t>(n);
  }
  content.resize(done);
  return content;
}

}  // namespace gritstone
