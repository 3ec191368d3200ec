#include "index/file_walker.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>

#include "base/error.h"
#include "base/utf8.h"
#include "index/document_reader.h"

namespace gritstone {
namespace {

std::int64_t modified_ns(const struct stat& status) {
  return static_cast<std::int64_t>(status.st_mtim.tv_sec) * 1'000'000'000 + status.st_mtim.tv_nsec;
}

std::string kind_of(mode_t mode) {
  if (S_ISLNK(mode)) return "symbolic link (not followed)";
  if (S_ISFIFO(mode)) return "named pipe";
  if (S_ISSOCK(mode)) return "socket";
  if (S_ISCHR(mode) || S_ISBLK(mode)) return "device";
  return "not a regular file";
}

class Walker {
 public:
  Walker(const WalkLimits& limits, WalkResult& result) : limits_(limits), result_(result) {}

  void root(const std::string& name) {
    const std::string path = std::filesystem::path(name).lexically_normal().string();
    struct stat status {};
    // stat, not lstat: whoever names a link means what it points to.
    if (name.empty() || ::stat(name.c_str(), &status) != 0) {
      return skip(name, name.empty() ? "empty path" : std::string("cannot read: ") + std::strerror(errno));
    }
    device_ = status.st_dev;
    if (S_ISDIR(status.st_mode)) {
      const int fd = ::open(name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
      if (fd < 0) return skip(path, std::string("cannot read directory: ") + std::strerror(errno));
      std::string prefix = path == "." ? "" : path;
      if (!prefix.empty() && prefix.back() != '/') prefix += '/';
      directory(fd, prefix, 1);
    } else {
      file(path, status, true);
    }
  }

 private:
  void skip(const std::string& path, const std::string& reason) { result_.skipped.push_back({sanitize_utf8(path), reason}); }

  void file(const std::string& path, const struct stat& status, bool named) {
    if (!S_ISREG(status.st_mode)) return skip(path, kind_of(status.st_mode));
    if (!is_valid_utf8(path)) return skip(path, "name is not valid UTF-8");
    if (!named && !document_type_of(path)) return skip(path, "unsupported file type");
    const auto size = static_cast<std::uint64_t>(status.st_size);
    if (size > limits_.max_file_bytes) {
      return skip(path,
                  "larger than the limit (" + std::to_string(size) + " bytes, at most " + std::to_string(limits_.max_file_bytes) + ")");
    }
    if (result_.files.size() >= limits_.max_files) {
      if (!full_) skip(path, "more than " + std::to_string(limits_.max_files) + " files");
      full_ = true;
      return;
    }
    result_.files.push_back({path, size, modified_ns(status), named});
  }

  // Owns fd. Entries are looked at relative to it, so that a directory swapped for a link meanwhile leads nowhere.
  void directory(int fd, const std::string& prefix, std::size_t depth) {
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(fd), ::closedir);
    if (stream == nullptr) {
      ::close(fd);
      return skip(prefix, std::string("cannot read directory: ") + std::strerror(errno));
    }
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = ::readdir(stream.get())) {
      if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
      errno = 0;
    }
    if (errno != 0) skip(prefix, std::string("cannot read directory: ") + std::strerror(errno));
    std::sort(names.begin(), names.end());
    for (const std::string& name : names) {
      if (full_) return;
      entry(fd, name, prefix + name, depth);
    }
  }

  void entry(int parent, const std::string& name, const std::string& path, std::size_t depth) {
    struct stat status {};
    if (::fstatat(parent, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0)
      return skip(path, std::string("cannot read: ") + std::strerror(errno));
    if (!S_ISDIR(status.st_mode)) return file(path, status, false);
    if (status.st_dev != device_) return skip(path, "on another file system");
    if (depth >= limits_.max_depth) return skip(path, "deeper than " + std::to_string(limits_.max_depth) + " directories");
    const int fd = ::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return skip(path, std::string("cannot read directory: ") + std::strerror(errno));
    directory(fd, path + "/", depth + 1);
  }

  const WalkLimits& limits_;
  WalkResult& result_;
  dev_t device_ = 0;
  bool full_ = false;
};

}  // namespace

WalkResult walk_files(std::span<const std::string> roots, const WalkLimits& limits) {
  WalkResult result;
  Walker walker(limits, result);
  for (const std::string& root : roots) walker.root(root);
  // A file reached twice counts once, as a named one if it was named.
  std::sort(result.files.begin(), result.files.end(),
            [](const FoundFile& a, const FoundFile& b) { return a.path != b.path ? a.path < b.path : a.named > b.named; });
  result.files.erase(
      std::unique(result.files.begin(), result.files.end(), [](const FoundFile& a, const FoundFile& b) { return a.path == b.path; }),
      result.files.end());
  std::sort(result.skipped.begin(), result.skipped.end(),
            [](const SkippedFile& a, const SkippedFile& b) { return a.path != b.path ? a.path < b.path : a.reason < b.reason; });
  result.skipped.erase(std::unique(result.skipped.begin(), result.skipped.end(),
                                   [](const SkippedFile& a, const SkippedFile& b) { return a.path == b.path; }),
                       result.skipped.end());
  return result;
}

SourceFile read_source_file(const std::string& path, bool named, std::uint64_t max_bytes) {
  // O_NONBLOCK: a pipe put in the file's place would otherwise hang the open.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | (named ? 0 : O_NOFOLLOW));
  if (fd < 0) {
    const int error = errno;
    const ErrorCode code = error == ENOENT ? ErrorCode::kNotFound : error == ELOOP ? ErrorCode::kInvalidArgument : ErrorCode::kStorage;
    throw Error(code, "cannot open " + sanitize_utf8(path) + ": " + std::strerror(error));
  }
  struct Closer {
    int fd;
    ~Closer() { ::close(fd); }
  } closer{fd};
  struct stat status {};
  if (::fstat(fd, &status) != 0) throw Error(ErrorCode::kStorage, "cannot read " + sanitize_utf8(path) + ": " + std::strerror(errno));
  if (!S_ISREG(status.st_mode)) throw Error(ErrorCode::kInvalidArgument, sanitize_utf8(path) + " is a " + kind_of(status.st_mode));
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size > max_bytes) {
    throw Error(ErrorCode::kInvalidArgument,
                sanitize_utf8(path) + " has " + std::to_string(size) + " bytes, at most " + std::to_string(max_bytes));
  }
  SourceFile file;
  file.size = size;
  file.mtime_ns = modified_ns(status);
  file.bytes.resize(size);
  std::size_t done = 0;
  while (done < size) {
    const ssize_t n = ::read(fd, file.bytes.data() + done, size - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw Error(ErrorCode::kStorage, "cannot read " + sanitize_utf8(path) + ": " + std::strerror(errno));
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  struct stat after {};
  if (done != size || ::fstat(fd, &after) != 0 || after.st_size != status.st_size || modified_ns(after) != file.mtime_ns) {
    throw Error(ErrorCode::kInvalidArgument, sanitize_utf8(path) + " changed while it was read");
  }
  return file;
}

}  // namespace gritstone
