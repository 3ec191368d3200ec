#include "base/checked_file.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "base/hash.h"
#include "tests/base/expect_error.h"
#include "tests/base/temp_directory.h"

namespace gritstone {
namespace {

std::vector<std::string> names(const TempDirectory& directory) {
  std::vector<std::string> result;
  for (const auto& entry : std::filesystem::directory_iterator(directory.path())) result.push_back(entry.path().filename());
  std::sort(result.begin(), result.end());
  return result;
}

// Files may not grow beyond `bytes` while this lives: writes fail like those on a full disk, without needing one.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : old_handler_(::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &old_);
    struct rlimit limit = old_;
    limit.rlim_cur = bytes;
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &old_);
    ::signal(SIGXFSZ, old_handler_);
  }

 private:
  struct rlimit old_ {};
  void (*old_handler_)(int);
};

TEST(CheckedFile, CommitPutsTheWholeFileInPlace) {
  TempDirectory directory;
  CheckedFileWriter writer(directory / "f");
  writer.write(as_bytes("....-body"));
  writer.write_at(0, as_bytes("head"));
  EXPECT_EQ(writer.offset(), 9u);
  EXPECT_FALSE(std::filesystem::exists(directory / "f"));
  writer.commit();
  EXPECT_EQ(read_file(directory / "f", 100), "head-body");
  EXPECT_EQ(names(directory), std::vector<std::string>{"f"});
  struct stat status {};
  ASSERT_EQ(::stat((directory / "f").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
}

TEST(CheckedFile, WithoutCommitTheOldFileStaysAndNothingIsLeft) {
  TempDirectory directory;
  write_file_atomically(directory / "f", as_bytes("old"));
  {
    CheckedFileWriter writer(directory / "f");
    writer.write(as_bytes("new"));
  }
  EXPECT_EQ(read_file(directory / "f", 100), "old");
  EXPECT_EQ(names(directory), std::vector<std::string>{"f"});
}

TEST(CheckedFile, ReplacesALinkInsteadOfFollowingIt) {
  TempDirectory directory;
  write_file_atomically(directory / "target", as_bytes("target"));
  std::filesystem::create_symlink(directory / "target", directory / "link");
  write_file_atomically(directory / "link", as_bytes("new"));
  EXPECT_EQ(read_file(directory / "target", 100), "target");
  EXPECT_EQ(read_file(directory / "link", 100), "new");
}

TEST(CheckedFile, APlantedTemporaryLinkIsNotWrittenThrough) {
  TempDirectory directory;
  write_file_atomically(directory / "victim", as_bytes("victim"));
  // Whatever number this process has come to.
  for (int n = 0; n < 2000; ++n) {
    const std::string name = "f.tmp." + std::to_string(::getpid()) + "." + std::to_string(n);
    std::filesystem::create_symlink(directory / "victim", directory / name);
  }
  write_file_atomically(directory / "f", as_bytes("data"));
  EXPECT_EQ(read_file(directory / "victim", 100), "victim");
  EXPECT_EQ(read_file(directory / "f", 100), "data");
}

TEST(CheckedFile, AFullDiskIsReportedAndLeavesTheOldFile) {
  TempDirectory directory;
  write_file_atomically(directory / "f", as_bytes("old"));
  const std::string big(200000, 'x');
  {
    FileSizeLimit limit(65536);
    EXPECT_GS_ERROR(write_file_atomically(directory / "f", as_bytes(big)), ErrorCode::kStorage, "File too large");
  }
  EXPECT_EQ(read_file(directory / "f", 100), "old");
  EXPECT_EQ(names(directory), std::vector<std::string>{"f"});
  write_file_atomically(directory / "f", as_bytes(big));  // works again once there is room
  EXPECT_EQ(read_file(directory / "f", big.size()), big);
}

TEST(CheckedFile, MissingDirectoryIsAStorageError) {
  TempDirectory directory;
  EXPECT_GS_ERROR(CheckedFileWriter(directory / "no" / "f"), ErrorCode::kStorage, "No such file or directory");
}

TEST(CheckedFile, CommitOntoADirectoryFailsAndCleansUp) {
  TempDirectory directory;
  std::filesystem::create_directory(directory / "d");
  EXPECT_GS_ERROR(write_file_atomically(directory / "d", as_bytes("x")), ErrorCode::kStorage, "rename");
  EXPECT_EQ(names(directory), std::vector<std::string>{"d"});
}

TEST(CheckedFile, RelativePathsWork) {
  TempDirectory directory;
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(directory.path());
  write_file_atomically("plain", as_bytes("x"));
  std::filesystem::current_path(before);
  EXPECT_EQ(read_file(directory / "plain", 10), "x");
}

TEST(ReadFile, RefusesWhatItShould) {
  TempDirectory directory;
  write_file_atomically(directory / "f", as_bytes("12345"));
  EXPECT_EQ(read_file(directory / "f", 5), "12345");
  EXPECT_GS_ERROR(read_file(directory / "f", 4), ErrorCode::kInvalidArgument, "5 bytes");
  EXPECT_GS_ERROR(read_file(directory / "none", 4), ErrorCode::kNotFound, "none");
  EXPECT_GS_ERROR(read_file(directory.path(), 4), ErrorCode::kInvalidArgument, "not a regular file");
  ASSERT_EQ(::mkfifo((directory / "fifo").c_str(), 0600), 0);
  EXPECT_GS_ERROR(read_file(directory / "fifo", 4), ErrorCode::kInvalidArgument, "not a regular file");
}

// A search that builds a collection's vector file and the indexer that publishes it may meet.
TEST(CheckedFile, ThreadsThatWriteOnePathDoNotMix) {
  const TempDirectory directory;
  const std::filesystem::path path = directory / "file";
  std::vector<std::thread> writers;
  for (int t = 0; t < 4; ++t) {
    writers.emplace_back([&path, t] {
      const std::string content(20000, static_cast<char>('a' + t));
      for (int i = 0; i < 20; ++i) {
        CheckedFileWriter writer(path);
        for (std::size_t at = 0; at < content.size(); at += 1000) writer.write(as_bytes(std::string_view(content).substr(at, 1000)));
        EXPECT_NO_THROW(writer.commit());
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  const std::string content = read_file(path, 1 << 20);
  EXPECT_EQ(content, std::string(20000, content.at(0)));
  EXPECT_EQ(names(directory), std::vector<std::string>{"file"});
}

}  // namespace
}  // namespace gritstone
