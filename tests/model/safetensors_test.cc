// The safetensors reader and writer on good and on hostile files.
#include <gtest/gtest.h>

#include <cstring>

#include "model/files/safetensors_reader.h"
#include "model/safetensors_writer.h"
#include "tests/base/expect_error.h"
#include "tests/base/temp_directory.h"
#include "tests/model/micro_model.h"

namespace gritstone {
namespace {

// A file with this header text and `data` zero bytes.
std::vector<std::uint8_t> with_header(const std::string& header, std::size_t data) {
  std::vector<std::uint8_t> out(8 + header.size() + data);
  const std::uint64_t length = header.size();
  std::memcpy(out.data(), &length, 8);
  std::memcpy(out.data() + 8, header.data(), header.size());
  return out;
}

TEST(Safetensors, WriterAndReaderAgree) {
  const TempDirectory directory;
  {
    SafetensorsWriter writer(directory / "a.safetensors", {{"x", {2, 3}}, {"quoted \"name\"", {}}, {"empty", {0, 4}}, {"y", {1}}});
    writer.append(std::vector<float>{1, 2, 3, 4});
    writer.append(std::vector<float>{5, 6, 7, 8});  // ends x, is the scalar, is y
    writer.commit();
  }
  const auto bytes = file_bytes(directory / "a.safetensors");
  const auto tensors = parse_safetensors(bytes, "a");
  ASSERT_EQ(tensors.size(), 4u);
  std::uint64_t header = 0;
  std::memcpy(&header, bytes.data(), 8);
  EXPECT_EQ(header % 8, 0u);
  for (const auto& tensor : tensors) {
    EXPECT_EQ(tensor.type, DType::kF32);
    if (tensor.bytes == 0) continue;
    float first;
    std::memcpy(&first, bytes.data() + tensor.offset, 4);
    EXPECT_EQ(first, tensor.name == "x" ? 1.0f : tensor.name == "y" ? 8.0f : 7.0f) << tensor.name;
    if (tensor.name == "x") {
      EXPECT_EQ(tensor.shape, (std::vector<std::size_t>{2, 3}));
    }
  }
}

TEST(Safetensors, WriterRefusesWrongCounts) {
  const TempDirectory directory;
  {
    SafetensorsWriter writer(directory / "a.safetensors", {{"x", {3}}});
    writer.append(std::vector<float>{1, 2});
    EXPECT_GS_ERROR(writer.append(std::vector<float>{3, 4}), ErrorCode::kInvalidArgument, "4 values for tensors of 3");
    EXPECT_GS_ERROR(writer.commit(), ErrorCode::kInvalidArgument, "2 values written");
  }
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
  EXPECT_GS_ERROR(SafetensorsWriter(directory / "b", {{"x", {1}}, {"x", {1}}}), ErrorCode::kInvalidArgument, "x is announced twice");
  EXPECT_GS_ERROR(SafetensorsWriter(directory / "b", {{"x", {std::size_t{1} << 40, std::size_t{1} << 40}}}), ErrorCode::kInvalidArgument,
                  "overflows");
}

TEST(Safetensors, ReadsWhatOthersWrite) {
  const auto tensors =
      parse_safetensors(with_header(R"({"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[2,1],"data_offsets":[4,8]},)"
                                    R"("a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},)"
                                    R"("i":{"dtype":"I64","shape":[],"data_offsets":[8,16]}}   )",
                                    16),
                        "t");
  ASSERT_EQ(tensors.size(), 3u);
  EXPECT_EQ(tensors[0].name, "a");
  EXPECT_EQ(tensors[0].type, DType::kF16);
  EXPECT_EQ(tensors[1].type, DType::kBF16);
  EXPECT_FALSE(tensors[2].type);  // an error only where it is used
  EXPECT_EQ(tensors[2].dtype, "I64");
}

struct Case {
  const char* name;
  std::string header;
  std::size_t data;
  const char* message;
};

std::string one(const std::string& info) { return R"({"t":)" + info + "}"; }

TEST(Safetensors, HostileHeadersAreRejectedWithTheirReason) {
  const Case cases[] = {
      {"not JSON", "{\"t\":", 0, "at byte"},
      {"array", "[1, 2]", 0, "does not start with '{'"},
      {"leading space", " {}", 0, "does not start with '{'"},
      {"text after the object", "{} x", 0, "at byte"},
      {"duplicate key", R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4,
       "duplicate key"},
      {"duplicate key inside", one(R"({"dtype":"F32","shape":[1],"shape":[2],"data_offsets":[0,4]})"), 4, "duplicate key"},
      {"deep", one(std::string(100, '[') + std::string(100, ']')), 0, "nested deeper"},
      {"invalid UTF-8", "{\"\xff\":1}", 0, "at byte"},
      {"no object", one("3"), 0, "not described"},
      {"no dtype", one(R"({"shape":[1],"data_offsets":[0,4]})"), 4, "no dtype"},
      {"unknown dtype", one(R"({"dtype":"F33","shape":[1],"data_offsets":[0,4]})"), 4, "unknown dtype \"F33\""},
      {"no shape", one(R"({"dtype":"F32","data_offsets":[0,4]})"), 4, "no valid shape"},
      {"negative shape", one(R"({"dtype":"F32","shape":[-1],"data_offsets":[0,4]})"), 4, "not negative"},
      {"fractional shape", one(R"({"dtype":"F32","shape":[1.0],"data_offsets":[0,4]})"), 4, "not negative"},
      {"shape overflows", one(R"({"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]})"), 0, "overflows"},
      {"nine dimensions", one(R"({"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]})"), 4, "no valid shape"},
      {"one offset", one(R"({"dtype":"F32","shape":[1],"data_offsets":[0]})"), 4, "data_offsets pair"},
      {"reversed offsets", one(R"({"dtype":"F32","shape":[1],"data_offsets":[4,0]})"), 4, "data_offsets [4, 0]"},
      {"beyond the file", one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})"), 4, "the data has 4 bytes"},
      {"2^64-1", one(R"({"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,18446744073709551615]})"), 4,
       "the data has 4 bytes"},
      {"size and shape differ", one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,4]})"), 4, "ask for 8"},
      {"hole", R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})", 3,
       "a hole or an overlap"},
      {"overlap", R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})", 3,
       "a hole or an overlap"},
      {"same place", R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})", 2,
       "a hole or an overlap"},
      {"not from 0", one(R"({"dtype":"U8","shape":[1],"data_offsets":[1,2]})"), 2, "a hole or an overlap"},
      {"bytes behind", one(R"({"dtype":"U8","shape":[1],"data_offsets":[0,1]})"), 2, "1 bytes after the last tensor"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_GS_ERROR(parse_safetensors(with_header(c.header, c.data), "hostile"), ErrorCode::kModelRejected, c.message);
  }
}

TEST(Safetensors, HeaderLengthsAndTruncation) {
  auto file = with_header(R"({"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8);
  EXPECT_EQ(parse_safetensors(file, "good").size(), 1u);
  for (std::size_t size = 0; size < file.size(); ++size) {
    const std::vector<std::uint8_t> cut(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_GS_ERROR(parse_safetensors(cut, "cut"), ErrorCode::kModelRejected, "cut");
  }
  for (const std::uint64_t length :
       {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{100'000'001}, ~std::uint64_t{0}, std::uint64_t{99'000'000}}) {
    std::memcpy(file.data(), &length, 8);
    EXPECT_GS_ERROR(parse_safetensors(file, "length"), ErrorCode::kModelRejected, "length");
  }
}

TEST(SafetensorsIndex, OnlyPlainFileNames) {
  const auto index = [](const std::string& file) { return R"({"metadata":{},"weight_map":{"a":")" + file + "\"}}"; };
  EXPECT_EQ(parse_safetensors_index(index("model-00001-of-00002.safetensors"), "i").at("a"), "model-00001-of-00002.safetensors");
  for (const char* bad : {"../model.safetensors", "/etc/model.safetensors", "sub/model.safetensors", "sub\\\\model.safetensors",
                          ".hidden.safetensors", ".safetensors", "model.bin", "", "a\\u0000b.safetensors"}) {
    EXPECT_GS_ERROR(parse_safetensors_index(index(bad), "i"), ErrorCode::kModelRejected, "plain name");
  }
  EXPECT_GS_ERROR(parse_safetensors_index("{}", "i"), ErrorCode::kModelRejected, "no weight_map");
  EXPECT_GS_ERROR(parse_safetensors_index("[]", "i"), ErrorCode::kModelRejected, "not an object");
  EXPECT_GS_ERROR(parse_safetensors_index(R"({"weight_map":{"a":3}})", "i"), ErrorCode::kModelRejected, "names no file");
}

}  // namespace
}  // namespace gritstone
