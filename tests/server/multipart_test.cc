#include "apps/server/multipart.h"

#include <gtest/gtest.h>

#include "tests/base/expect_error.h"

namespace gritstone {
namespace {

constexpr const char* kType = "multipart/form-data; boundary=XyZ";

std::string part(const std::string& head, const std::string& data) { return "--XyZ\r\n" + head + "\r\n\r\n" + data + "\r\n"; }
std::string field(const std::string& name, const std::string& data) {
  return part("Content-Disposition: form-data; name=\"" + name + "\"", data);
}

TEST(Multipart, ReadsFieldsAndFilesInOrder) {
  const std::string body =
      field("purpose", "assistants") +
      part("content-disposition: form-data; name=file; filename=\"a b.md\"\r\nContent-Type: text/markdown", "# A\r\n\r\n--Xy\r\n") +
      "--XyZ--\r\n";
  const auto parts = parse_multipart(body, kType);
  ASSERT_EQ(parts.size(), 2u);
  EXPECT_EQ(parts[0].name, "purpose");
  EXPECT_FALSE(parts[0].filename);
  EXPECT_EQ(parts[0].data, "assistants");
  EXPECT_EQ(parts[1].name, "file");
  EXPECT_EQ(parts[1].filename, "a b.md");
  EXPECT_EQ(parts[1].content_type, "text/markdown");
  EXPECT_EQ(parts[1].data, "# A\r\n\r\n--Xy\r\n");
  EXPECT_EQ(parts[1].data.data(), body.data() + body.find("# A"));  // a view, not a copy
}

TEST(Multipart, KeepsBytesAsTheyAre) {
  const std::string bytes("\0\r\n-\r\n--\xff\r\n\r\n", 12);
  const std::string body = field("f", bytes) + "--XyZ--";  // the parts are views of it
  const auto parts = parse_multipart(body, kType);
  ASSERT_EQ(parts.size(), 1u);
  EXPECT_EQ(parts[0].data, bytes);
}

TEST(Multipart, EmptyFormsAndEmptyParts) {
  EXPECT_TRUE(parse_multipart("--XyZ--\r\n", kType).empty());
  EXPECT_TRUE(parse_multipart("\r\n--XyZ--", kType).empty());
  const std::string body = field("a", "") + field("b", "\r\n") + "--XyZ--";
  const auto parts = parse_multipart(body, kType);
  ASSERT_EQ(parts.size(), 2u);
  EXPECT_EQ(parts[0].data, "");
  EXPECT_EQ(parts[1].data, "\r\n");
  EXPECT_EQ(parse_multipart(part("Content-Disposition: form-data; name=\"\"", "1") + "--XyZ--", kType).at(0).name, "");
  // Some clients leave out the line end of empty data.
  EXPECT_EQ(parse_multipart("--XyZ\r\nContent-Disposition: form-data; name=a\r\n\r\n--XyZ--", kType).at(0).data, "");
}

TEST(Multipart, BoundaryMayBeQuotedAndOtherParametersStandBeside) {
  const std::string body = "--a b=c\r\nContent-Disposition: form-data; name=x\r\n\r\n1\r\n--a b=c--";
  EXPECT_EQ(parse_multipart(body, "Multipart/Form-Data; charset=utf-8; boundary=\"a b=c\"").size(), 1u);
}

TEST(Multipart, FileNamesAsClientsWriteThem) {
  const auto name_of = [](const std::string& parameters) {
    const std::string body = part("Content-Disposition: form-data; name=\"file\"; " + parameters, "x") + "--XyZ--";
    return parse_multipart(body, kType).at(0).filename.value_or("(none)");
  };
  EXPECT_EQ(name_of("filename=\"a%22b.md\""), "a\"b.md");
  EXPECT_EQ(name_of("filename=\"a\\\"b.md\""), "a\"b.md");
  EXPECT_EQ(name_of("filename=\"C:\\temp\\a.md\""), "C:\\temp\\a.md");
  EXPECT_EQ(name_of("filename=\"\""), "");
  EXPECT_EQ(name_of("filename=\"../../x; y\""), "../../x; y");
  EXPECT_EQ(name_of("filename=\"na\xC3\xAFve.md\""), "na\xC3\xAFve.md");
  EXPECT_EQ(name_of("filename=\"naive.md\"; filename*=UTF-8''na%C3%AFve%20b.md"), "na\xC3\xAFve b.md");
  EXPECT_EQ(name_of("filename=a.md;"), "a.md");
}

void expect_refused(const std::string& body, const std::string& type = kType, const MultipartLimits& limits = {}) {
  SCOPED_TRACE(body.substr(0, 80));
  EXPECT_GS_ERROR(parse_multipart(body, type, limits), ErrorCode::kInvalidArgument, "multipart body: ");
}

TEST(Multipart, RefusesOtherTypesAndBoundaries) {
  const std::string good = field("a", "1") + "--XyZ--";
  for (const char* type :
       {"", "multipart/form-data", "multipart/mixed; boundary=XyZ", "application/json",
        "multipart/form-data; boundary=", "multipart/form-data; boundary=\"XyZ", "multipart/form-data; boundary=XyZ; boundary=XyZ",
        "multipart/form-data; boundary=\"XyZ \"", "multipart/form-data; boundary=\"X\nZ\"", "multipart/form-data boundary=XyZ",
        "multipart/form-data; boundary=a2345678901234567890123456789012345678901234567890123456789012345678901"}) {
    expect_refused(good, type);
  }
}

TEST(Multipart, RefusesWhatIsNotExactlyAForm) {
  const std::string good = field("a", "1");
  for (const std::string& body :
       {std::string(),
        std::string("--XyZ"),
        std::string("--XyZ\r\n"),
        std::string("--XyZ-"),
        "preamble\r\n" + good + "--XyZ--",
        good,
        good + "--XyZ",
        good + "--XyZ--\r\nepilogue",
        good + "--XyZ--x",
        good + "--XyZ \r\n",
        "--XyZx\r\n" + good,
        std::string("--XyZ\nContent-Disposition: form-data; name=a\n\n1\n--XyZ--"),
        std::string("--XyZ\r\nContent-Disposition: form-data; name=a\r\n"),
        part("Content-Type: text/plain", "1") + "--XyZ--",
        part("Content-Disposition: attachment; name=a", "1") + "--XyZ--",
        part("Content-Disposition: form-data", "1") + "--XyZ--",
        part("Content-Disposition: form-data; name=\"a", "1") + "--XyZ--",
        part("Content-Disposition: form-data; name=a; name=b", "1") + "--XyZ--",
        part("Content-Disposition: form-data; name=a; filename=x; filename=y", "1") + "--XyZ--",
        part("Content-Disposition: form-data; name=a; filename*=latin1''x", "1") + "--XyZ--",
        part("Content-Disposition: form-data; name=a; filename*=UTF-8''%zz", "1") + "--XyZ--",
        part("Content-Disposition: form-data; name=a; filename*=UTF-8''%00", "1") + "--XyZ--",
        part("Content-Disposition: form-data; name=\xff", "1") + "--XyZ--",
        part("Content-Disposition: form-data; name=\"\xff\"", "1") + "--XyZ--",
        part("Content-Disposition: form-data; name=a b", "1") + "--XyZ--",
        part("Content-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=b", "1") + "--XyZ--",
        part("Content-Disposition: form-data; name=a\r\n folded", "1") + "--XyZ--",
        part("no colon", "1") + "--XyZ--",
        part("Content-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: base64", "MQ==") + "--XyZ--"}) {
    expect_refused(body);
  }
}

TEST(Multipart, RefusesMoreThanTheLimits) {
  MultipartLimits limits;
  limits.parts = 2;
  const std::string one = field("a", "1");
  EXPECT_EQ(parse_multipart(one + one + "--XyZ--", kType, limits).size(), 2u);
  expect_refused(one + one + one + "--XyZ--", kType, limits);
  limits = {};
  limits.head_bytes = 60;
  EXPECT_EQ(parse_multipart(one + "--XyZ--", kType, limits).size(), 1u);
  expect_refused(part("Content-Disposition: form-data; name=a\r\nX: " + std::string(60, 'x'), "1") + "--XyZ--", kType, limits);
  limits = {};
  limits.heads = 2;
  expect_refused(part("Content-Disposition: form-data; name=a\r\nA: 1\r\nB: 2", "1") + "--XyZ--", kType, limits);
}

}  // namespace
}  // namespace gritstone
