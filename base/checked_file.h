// The one way files are written: a reader sees the old content or the new, whole, also after a crash or on a full disk.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace gritstone {

// Writes a new file beside its final path and renames it into place on commit(). Without commit() nothing is left behind.
// Used from one thread. Every write, fsync, close and rename is checked; the directory is synced after the rename.
class CheckedFileWriter {
 public:
  // Throws Error(kStorage) if the temporary file cannot be created in the directory of `path`.
  explicit CheckedFileWriter(const std::filesystem::path& path);
  ~CheckedFileWriter();
  CheckedFileWriter(const CheckedFileWriter&) = delete;
  CheckedFileWriter& operator=(const CheckedFileWriter&) = delete;

  // Appends. Throws Error(kStorage) naming the path and the reason ("No space left on device").
  void write(std::span<const std::uint8_t> bytes);
  // Overwrites bytes written before (a header whose values are known last). Throws Error(kStorage).
  void write_at(std::uint64_t offset, std::span<const std::uint8_t> bytes);
  std::uint64_t offset() const noexcept { return offset_; }
  // fsync, close, rename, fsync of the directory. Throws Error(kStorage); the old file is then still in place.
  void commit();

 private:
  std::filesystem::path path_;
  std::filesystem::path temporary_;
  int fd_ = -1;
  std::uint64_t offset_ = 0;
};

// Replaces `path` with `bytes` in one step. Throws Error(kStorage).
void write_file_atomically(const std::filesystem::path& path, std::span<const std::uint8_t> bytes);

// Whole content of a regular file of at most max_bytes. Throws Error: kNotFound, kInvalidArgument (too large, not regular), kStorage.
std::string read_file(const std::filesystem::path& path, std::uint64_t max_bytes);

}  // namespace gritstone
