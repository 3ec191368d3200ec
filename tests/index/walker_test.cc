#include <gmock/gmock.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "index/file_walker.h"
#include "tests/index/fixtures.h"

namespace gritstone {
namespace {

using ::testing::ElementsAre;
using testing::expect_error;
using testing::TempDir;
using testing::write_file;

class WalkerTest : public ::testing::Test {
 protected:
  std::vector<std::string> found(const std::vector<std::string>& roots, const WalkLimits& limits = {}) {
    result_ = walk_files(roots, limits);
    std::vector<std::string> names;
    for (const FoundFile& file : result_.files) names.push_back(relative(file.path));
    return names;
  }

  std::string relative(const std::string& path) const {
    const std::string prefix = dir_.path().string() + "/";
    return path.starts_with(prefix) ? path.substr(prefix.size()) : path;
  }

  std::string reason(const std::string& name) const {
    for (const SkippedFile& file : result_.skipped) {
      if (relative(file.path) == name) return file.reason;
    }
    return "";
  }

  TempDir dir_;
  WalkResult result_;
};

TEST_F(WalkerTest, FindsKnownTypesInOrder) {
  for (const char* name : {"b.md", "a.txt", "sub/c.html", "sub/deeper/d.markdown", "image.png", "noext", ".hidden.md", ".git/x.md"})
    write_file(dir_ / name, "text");
  EXPECT_THAT(found({dir_.path().string()}), ElementsAre("a.txt", "b.md", "sub/c.html", "sub/deeper/d.markdown"));
  EXPECT_EQ(reason("image.png"), "unsupported file type");
  EXPECT_EQ(reason("noext"), "unsupported file type");
  EXPECT_EQ(reason(".hidden.md"), "");
  EXPECT_EQ(result_.files[0].size, 4u);
  EXPECT_GT(result_.files[0].mtime_ns, 0);
}

TEST_F(WalkerTest, NamedFilesAreTriedWhateverTheirName) {
  write_file(dir_ / "README", "text");
  write_file(dir_ / ".notes", "text");
  EXPECT_THAT(found({(dir_ / "README").string(), (dir_ / ".notes").string()}), ElementsAre(".notes", "README"));
  EXPECT_TRUE(result_.files[0].named);
  EXPECT_THAT(found({dir_.path().string() + "/./README", dir_.path().string()}), ElementsAre("README"));
  EXPECT_THAT(found({(dir_ / "missing").string()}), ElementsAre());
  EXPECT_THAT(reason("missing"), ::testing::HasSubstr("No such file"));
}

TEST_F(WalkerTest, NeverFollowsLinksOrOpensPipes) {
  write_file(dir_ / "outside" / "secret.md", "secret");
  write_file(dir_ / "docs" / "a.md", "text");
  std::filesystem::create_symlink(dir_ / "outside" / "secret.md", dir_ / "docs" / "link.md");
  std::filesystem::create_directory_symlink(dir_ / "outside", dir_ / "docs" / "linked");
  std::filesystem::create_directory_symlink(dir_ / "docs", dir_ / "docs" / "loop");
  ASSERT_EQ(::mkfifo((dir_ / "docs" / "pipe.md").c_str(), 0600), 0);
  const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string socket_path = (dir_ / "docs" / "s.md").string();
  ASSERT_LT(socket_path.size(), sizeof(address.sun_path));
  std::copy(socket_path.begin(), socket_path.end(), address.sun_path);
  ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  EXPECT_THAT(found({(dir_ / "docs").string()}), ElementsAre("docs/a.md"));
  EXPECT_EQ(reason("docs/link.md"), "symbolic link (not followed)");
  EXPECT_EQ(reason("docs/linked"), "symbolic link (not followed)");
  EXPECT_EQ(reason("docs/loop"), "symbolic link (not followed)");
  EXPECT_EQ(reason("docs/pipe.md"), "named pipe");
  EXPECT_EQ(reason("docs/s.md"), "socket");
  ::close(fd);
  EXPECT_THAT(found({"/dev/zero"}), ElementsAre());
  EXPECT_EQ(reason("/dev/zero"), "device");
  expect_error(ErrorCode::kInvalidArgument, [&] { read_source_file((dir_ / "docs" / "pipe.md").string(), false); });
  expect_error(ErrorCode::kInvalidArgument, [&] { read_source_file((dir_ / "docs" / "link.md").string(), false); });
  EXPECT_EQ(read_source_file((dir_ / "docs" / "link.md").string(), true).bytes, "secret");
}

TEST_F(WalkerTest, Limits) {
  write_file(dir_ / "1" / "2" / "3" / "deep.md", "x");
  write_file(dir_ / "1" / "shallow.md", "x");
  write_file(dir_ / "big.md", "0123456789");
  write_file(dir_ / "c.md", "x");
  WalkLimits limits;
  limits.max_depth = 3;
  limits.max_file_bytes = 5;
  EXPECT_THAT(found({dir_.path().string()}, limits), ElementsAre("1/shallow.md", "c.md"));
  EXPECT_EQ(reason("1/2/3"), "deeper than 3 directories");
  EXPECT_THAT(reason("big.md"), ::testing::HasSubstr("10 bytes"));
  limits = {};
  limits.max_files = 1;
  EXPECT_EQ(found({dir_.path().string()}, limits).size(), 1u);
  // A sparse file is refused by its size, before a byte is read.
  std::filesystem::resize_file(dir_ / "big.md", 5ull << 30);
  EXPECT_THAT(found({(dir_ / "big.md").string()}), ElementsAre());
  expect_error(ErrorCode::kInvalidArgument, [&] { read_source_file((dir_ / "big.md").string(), true); });
}

TEST_F(WalkerTest, OddNames) {
  write_file(dir_ / "line\nbreak.md", "x");
  write_file(dir_ / (std::string(250, 'n') + ".md"), "x");
  write_file(dir_ / "bad\xFF.md", "x");
  EXPECT_EQ(found({dir_.path().string()}).size(), 2u);
  EXPECT_EQ(reason("bad\xEF\xBF\xBD.md"), "name is not valid UTF-8");
}

TEST_F(WalkerTest, MissingFile) {
  expect_error(ErrorCode::kNotFound, [&] { read_source_file((dir_ / "gone.md").string(), false); });
}

}  // namespace
}  // namespace gritstone
