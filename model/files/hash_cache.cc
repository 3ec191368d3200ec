#include "model/files/hash_cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/cache_directory.h"
#include "base/checked_file.h"
#include "base/error.h"
#include "base/hash.h"

namespace gritstone {
namespace {

constexpr std::size_t kChunk = std::size_t{1} << 20;
constexpr std::string_view kHeader = "gritstone-hash-1\n";

class OpenFile {
 public:
  explicit OpenFile(const std::filesystem::path& path) : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    if (fd_ < 0) {
      const int error = errno;
      throw Error(error == ENOENT || error == ENOTDIR ? ErrorCode::kNotFound : ErrorCode::kStorage,
                  "cannot open " + path.string() + ": " + std::strerror(error));
    }
  }
  ~OpenFile() { ::close(fd_); }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  int fd() const noexcept { return fd_; }

 private:
  int fd_;
};

// Everything by which a changed file is told apart, as text; nanoseconds of mtime included.
std::string identity(int fd, const std::filesystem::path& path) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) throw Error(ErrorCode::kStorage, "cannot stat " + path.string() + ": " + std::strerror(errno));
  std::error_code ignored;
  const std::filesystem::path canonical = std::filesystem::canonical(path, ignored);
  return std::to_string(status.st_size) + " " + std::to_string(status.st_mtim.tv_sec) + "." + std::to_string(status.st_mtim.tv_nsec) + " " +
         std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino) + " " + (ignored ? path : canonical).string();
}

std::string hash_content(int fd, const std::filesystem::path& path) {
  Sha256 hash;
  std::vector<std::uint8_t> buffer(kChunk);
  for (;;) {
    const ssize_t n = ::read(fd, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw Error(ErrorCode::kStorage, "cannot read " + path.string() + ": " + std::strerror(errno));
    if (n == 0) break;
    hash.update(std::span<const std::uint8_t>(buffer.data(), static_cast<std::size_t>(n)));
  }
  return to_hex(hash.finish());
}

// One entry: header, hash, identity, and a checksum of the three, so that a damaged entry is not believed.
std::string entry_text(const std::string& hash, const std::string& key) {
  const std::string body = std::string(kHeader) + hash + "\n" + key + "\n";
  return body + to_hex(xxh128(as_bytes(body))) + "\n";
}

std::string load_entry(const std::filesystem::path& entry, const std::string& key) {
  try {
    const std::string text = read_file(entry, 65536);
    const std::string hash = text.substr(std::min(kHeader.size(), text.size()), 64);
    return hash.size() == 64 && text == entry_text(hash, key) ? hash : std::string();
  } catch (const Error&) {
    return {};
  }
}

void store_entry(const std::filesystem::path& entry, const std::string& text) noexcept {
  try {
    std::filesystem::create_directories(entry.parent_path());
    write_file_atomically(entry, as_bytes(text));
  } catch (const std::exception&) {  // a read-only home must not keep a model from being used
  }
}

}  // namespace

std::string remembered_sha256(const std::filesystem::path& file) {
  const OpenFile open(file);
  const std::string key = identity(open.fd(), file);
  const std::filesystem::path directory = cache_directory("hashes");
  const std::filesystem::path entry = directory / to_hex(xxh128(as_bytes(key)));
  if (!directory.empty()) {
    if (const std::string known = load_entry(entry, key); !known.empty()) return known;
  }
  const std::string hash = hash_content(open.fd(), file);
  // A file that changed while it was read must not be remembered under the identity of either state.
  if (!directory.empty() && identity(open.fd(), file) == key) store_entry(entry, entry_text(hash, key));
  return hash;
}

std::string remembered_sha256(std::span<const std::filesystem::path> files) {
  std::vector<std::filesystem::path> sorted(files.begin(), files.end());
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.filename() < b.filename(); });
  Sha256 hash;
  for (const std::filesystem::path& file : sorted) {
    hash.update(file.filename().string());
    hash.update(std::string_view("\0", 1));
    hash.update(remembered_sha256(file));
    hash.update("\n");
  }
  return to_hex(hash.finish());
}

}  // namespace gritstone
