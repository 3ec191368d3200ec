// PATH... -> the files to index, in an order that does not depend on the file system, and the reasons for what is left out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace gritstone {

struct WalkLimits {
  std::uint64_t max_file_bytes = 64ull << 20;
  std::size_t max_depth = 32;
  std::size_t max_files = 1'000'000;
};

struct FoundFile {
  std::string path;  // as named, lexically normalised ("./docs//a.md" -> "docs/a.md"); valid UTF-8
  std::uint64_t size = 0;
  std::int64_t mtime_ns = 0;
  bool named = false;  // given on the command line itself: tried as text whatever its extension
};

struct SkippedFile {
  std::string path;  // malformed UTF-8 replaced, so that it can be printed
  std::string reason;
};

struct WalkResult {
  std::vector<FoundFile> files;      // sorted by path, unique
  std::vector<SkippedFile> skipped;  // sorted by path
};

// Regular files only. Never follows symbolic links below a root (a root itself may be one), never opens FIFOs, sockets or devices, stays on
// one file system per root. Hidden names are passed over silently unless named; other extensions are skipped with a reason.
// A root that does not exist is skipped with a reason. Thread-safe.
WalkResult walk_files(std::span<const std::string> roots, const WalkLimits& limits = {});

struct SourceFile {
  std::string bytes;
  std::uint64_t size = 0;
  std::int64_t mtime_ns = 0;
};

// Reads one regular file as it is now (opened O_NOFOLLOW|O_NONBLOCK for a walked file; links are followed when `named`).
// Throws Error: kNotFound; kInvalidArgument (not a regular file, larger than the limit, changed while read); kStorage.
SourceFile read_source_file(const std::string& path, bool named, std::uint64_t max_bytes = WalkLimits{}.max_file_bytes);

}  // namespace gritstone
