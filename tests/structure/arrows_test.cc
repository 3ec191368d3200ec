// Reads every #include line of the tree and fails on one that points the wrong way (docs/ARCHITECTURE.md, "Arrows").
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace gritstone {
namespace {

struct Include {
  std::string target;   // as written between the quotes or brackets
  bool system = false;  // <...>
};

// Line-based: a directive inside a block comment would be reported too, which errs on the safe side.
std::vector<Include> parse_includes(const std::string& source) {
  static const std::regex kDirective(R"(^\s*#\s*include\s*([<"])([^>"]+)[>"])");
  std::vector<Include> includes;
  std::istringstream lines(source);
  for (std::string line; std::getline(lines, line);) {
    std::smatch match;
    if (std::regex_search(line, match, kDirective)) includes.push_back({match[2], match[1] == "<"});
  }
  return includes;
}

bool starts_with(const std::string& text, const std::string& prefix) { return text.rfind(prefix, 0) == 0; }

// What each folder may include besides itself. Tests and fuzz targets may include anything.
const std::map<std::string, std::set<std::string>> kAllowed = {
    {"base", {}},
    {"model", {"base"}},
    {"index", {"base"}},
    {"retriever", {"index", "model", "base"}},
    {"generator", {"index", "model", "base"}},
    {"pipelines", {"retriever", "generator", "index", "model", "base"}},
    {"apps", {"pipelines", "retriever", "generator", "index", "model", "base"}},
};

struct LibraryRule {
  std::string header;                // prefix of the included name
  std::vector<std::string> allowed;  // prefixes of the files that may include it
};
const std::vector<LibraryRule> kLibraries = {
    {"faiss/", {"index/faiss_"}},
    {"sqlite3", {"index/sqlite_"}},
    {"boost/asio", {"apps/server/"}},
    {"boost/beast", {"apps/server/"}},
    {"cuda", {"model/kernels/cuda/", "model/cuda_"}},
    {"cublas", {"model/kernels/cuda/", "model/cuda_"}},
    {"CLI/", {"apps/"}},
    {"toml++/", {"apps/"}},
    {"libxml/", {"index/"}},
    {"libstemmer", {"index/"}},
};

// Why `file` (relative to the source root) may not include `include`; empty if it may.
std::string forbidden_reason(const std::string& file, const Include& include) {
  const std::string folder = file.substr(0, file.find('/'));
  const auto rule = kAllowed.find(folder);
  if (rule == kAllowed.end()) return "";
  for (const LibraryRule& library : kLibraries) {
    if (!starts_with(include.target, library.header)) continue;
    const bool allowed =
        std::any_of(library.allowed.begin(), library.allowed.end(), [&](const std::string& p) { return starts_with(file, p); });
    if (!allowed) return "<" + library.header + "...> belongs to " + library.allowed.front() + "*";
  }
  if (include.system) return "";
  if (starts_with(include.target, "tests/")) return "the product never includes tests";
  const std::string target_folder = include.target.substr(0, include.target.find('/'));
  if (include.target.find('/') == std::string::npos || kAllowed.count(target_folder) == 0)
    return "project headers are included by their path from the root";
  if (target_folder != folder && rule->second.count(target_folder) == 0) return folder + " may not include " + target_folder;
  if (starts_with(file, "model/kernels/") && target_folder == "model" && !starts_with(include.target, "model/kernels/") &&
      include.target != "model/dtype.h") {
    return "kernels know tensors (base/, model/kernels/, model/dtype.h), never the model";
  }
  return "";
}

std::vector<std::string> source_files() {
  const std::filesystem::path root = GRITSTONE_SOURCE_DIR;
  std::vector<std::string> files;
  for (const auto& [folder, unused] : kAllowed) {
    if (!std::filesystem::exists(root / folder)) continue;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root / folder)) {
      const std::string extension = entry.path().extension();
      const bool source = extension == ".h" || extension == ".cc" || extension == ".cu" || extension == ".cuh" || extension == ".inc";
      if (entry.is_regular_file() && source) files.push_back(std::filesystem::relative(entry.path(), root).generic_string());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::string read(const std::string& file) {
  std::ifstream in(std::filesystem::path(GRITSTONE_SOURCE_DIR) / file, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

TEST(Arrows, NoIncludePointsTheWrongWay) {
  const std::vector<std::string> files = source_files();
  ASSERT_GT(files.size(), 20u) << "the source tree was not found at " << GRITSTONE_SOURCE_DIR;
  std::size_t includes = 0;
  for (const std::string& file : files) {
    for (const Include& include : parse_includes(read(file))) {
      ++includes;
      const std::string reason = forbidden_reason(file, include);
      EXPECT_EQ(reason, "") << file << " includes " << include.target;
    }
  }
  EXPECT_GT(includes, 100u);
}

// One concept a file: 250 lines is the aim, 400 the limit.
TEST(Arrows, FilesStayUnder400Lines) {
  for (const std::string& file : source_files()) {
    const std::string text = read(file);
    EXPECT_LE(std::count(text.begin(), text.end(), '\n'), 400) << file;
  }
}

// The checker must find what it is there to find.
TEST(ArrowsSelfTest, ReportsEachForbiddenArrow) {
  const auto reason = [](const std::string& file, const std::string& line) {
    const std::vector<Include> includes = parse_includes(line + "\n");
    EXPECT_EQ(includes.size(), 1u) << line;
    return includes.empty() ? std::string("no include found") : forbidden_reason(file, includes.front());
  };
  EXPECT_EQ(reason("base/hash.cc", "#include \"model/token.h\""), "base may not include model");
  EXPECT_EQ(reason("model/engine.cc", "#include \"index/store.h\""), "model may not include index");
  EXPECT_EQ(reason("index/store.cc", "#include \"model/token.h\""), "index may not include model");
  EXPECT_EQ(reason("retriever/search.cc", "#include \"generator/prompt.h\""), "retriever may not include generator");
  EXPECT_EQ(reason("generator/prompt.cc", "#include \"retriever/search.h\""), "generator may not include retriever");
  EXPECT_EQ(reason("generator/prompt.cc", "#include \"pipelines/answer.h\""), "generator may not include pipelines");
  EXPECT_EQ(reason("pipelines/answer.cc", "  #  include \"apps/progress.h\""), "pipelines may not include apps");
  EXPECT_NE(reason("index/vectors.cc", "#include <faiss/IndexFlat.h>"), "");
  EXPECT_NE(reason("retriever/search.cc", "#include <sqlite3.h>"), "");
  EXPECT_NE(reason("apps/cmd_ask.cc", "#include <boost/asio.hpp>"), "");
  EXPECT_NE(reason("model/engine.cc", "#include <cuda_runtime.h>"), "");
  EXPECT_NE(reason("model/kernels/matmul.cc", "#include \"model/engine.h\""), "");
  EXPECT_NE(reason("model/engine.cc", "#include \"engine.h\""), "");
  EXPECT_NE(reason("model/engine.cc", "#include \"tests/model/helper.h\""), "");
}

TEST(ArrowsSelfTest, AcceptsTheAllowedOnes) {
  EXPECT_EQ(forbidden_reason("apps/cmd_ask.cc", {"pipelines/answer.h", false}), "");
  EXPECT_EQ(forbidden_reason("pipelines/answer.cc", {"generator/prompt.h", false}), "");
  EXPECT_EQ(forbidden_reason("retriever/search.cc", {"index/store.h", false}), "");
  EXPECT_EQ(forbidden_reason("index/faiss_flat.cc", {"faiss/IndexFlat.h", true}), "");
  EXPECT_EQ(forbidden_reason("index/sqlite_store.cc", {"sqlite3.h", true}), "");
  EXPECT_EQ(forbidden_reason("apps/server/listener.cc", {"boost/asio.hpp", true}), "");
  EXPECT_EQ(forbidden_reason("model/kernels/matmul.cc", {"model/dtype.h", false}), "");
  EXPECT_EQ(forbidden_reason("model/kernels/cuda/moe.cu", {"cuda_bf16.h", true}), "");
  EXPECT_EQ(forbidden_reason("tests/model/engine_test.cc", {"index/store.h", false}), "");
  EXPECT_TRUE(parse_includes("// #include \"x.h\"\nint include;\n").empty());
}

}  // namespace
}  // namespace gritstone
