#include "base/mapped_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "base/hash.h"
#include "tests/base/expect_error.h"
#include "tests/base/temp_directory.h"

namespace gritstone {
namespace {

void put(const std::filesystem::path& path, const std::string& content) { std::ofstream(path, std::ios::binary) << content; }

std::string text(const MappedFile& file) { return {reinterpret_cast<const char*>(file.bytes().data()), file.size()}; }

TEST(MappedFile, ShowsTheBytes) {
  TempDirectory directory;
  put(directory / "a", std::string("one\0two", 7));
  const MappedFile file(directory / "a");
  EXPECT_EQ(file.size(), 7u);
  EXPECT_EQ(text(file), std::string("one\0two", 7));
}

TEST(MappedFile, EmptyFileHasNoBytes) {
  TempDirectory directory;
  put(directory / "empty", "");
  const MappedFile file(directory / "empty");
  EXPECT_EQ(file.size(), 0u);
  file.release(0, 0);
}

TEST(MappedFile, RefusesWhatIsNoRegularFile) {
  TempDirectory directory;
  EXPECT_GS_ERROR(MappedFile(directory / "missing"), ErrorCode::kNotFound, "missing");
  EXPECT_GS_ERROR(MappedFile(directory.path()), ErrorCode::kInvalidArgument, "not a regular file");
  put(directory / "file", "x");
  EXPECT_GS_ERROR(MappedFile(directory / "file" / "below"), ErrorCode::kNotFound, "below");
  // A FIFO without a writer must be refused, not waited for.
  ASSERT_EQ(::mkfifo((directory / "fifo").c_str(), 0600), 0);
  EXPECT_GS_ERROR(MappedFile(directory / "fifo"), ErrorCode::kInvalidArgument, "not a regular file");
  EXPECT_GS_ERROR(MappedFile("/dev/zero"), ErrorCode::kInvalidArgument, "not a regular file");
}

TEST(MappedFile, UnreadableFileIsAStorageError) {
  if (::geteuid() == 0) GTEST_SKIP() << "root reads everything";
  TempDirectory directory;
  put(directory / "secret", "x");
  ASSERT_EQ(::chmod((directory / "secret").c_str(), 0), 0);
  EXPECT_GS_ERROR(MappedFile(directory / "secret"), ErrorCode::kStorage, "Permission denied");
}

TEST(MappedFile, MovesKeepOneOwner) {
  TempDirectory directory;
  put(directory / "a", "aaaa");
  put(directory / "b", "bb");
  MappedFile a(directory / "a");
  MappedFile b(std::move(a));
  EXPECT_EQ(text(b), "aaaa");
  MappedFile c(directory / "b");
  c = std::move(b);
  EXPECT_EQ(text(c), "aaaa");
}

TEST(MappedFile, ReleasedPagesComeBackFromTheFile) {
  TempDirectory directory;
  const std::string content(5 * 65536 + 17, 'q');
  put(directory / "big", content);
  const MappedFile file(directory / "big");
  EXPECT_EQ(text(file), content);
  file.release(3, file.size() - 3);
  file.release(0, file.size() * 2);  // beyond the end: ignored
  EXPECT_EQ(text(file), content);
}

TEST(MappedFile, SurvivesReplacementByRename) {
  TempDirectory directory;
  put(directory / "m", "old");
  const MappedFile file(directory / "m");
  put(directory / "n", "new!");
  std::filesystem::rename(directory / "n", directory / "m");
  EXPECT_EQ(text(file), "old");
}

}  // namespace
}  // namespace gritstone
