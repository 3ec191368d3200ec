#include "base/json.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/base/expect_error.h"

namespace gritstone {
namespace {

std::string nested(std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); }

void expect_refused(const std::string& text, const std::string& part = "") {
  SCOPED_TRACE(text.substr(0, 80));
  EXPECT_GS_ERROR(parse_json(text, "thing.json"), ErrorCode::kInvalidArgument, "thing.json");
  if (!part.empty()) EXPECT_GS_ERROR(parse_json(text, "thing.json"), ErrorCode::kInvalidArgument, part);
}

TEST(Json, ParsesWhatIsValid) {
  const rapidjson::Document document = parse_json(R"( {"a":[1,-2,3.5e1,true,null,"é\u00e9\ud83d\ude00"],"b":{}} )", "x");
  EXPECT_EQ(document["a"].Size(), 6u);
  EXPECT_EQ(std::string(document["a"][5].GetString()), "éé😀");
  EXPECT_EQ(json_text(document["a"][0]), "1");
  EXPECT_TRUE(parse_json("\"text\"", "x").IsString());
}

TEST(Json, NumbersKeepFullPrecision) {
  const rapidjson::Document document =
      parse_json(R"({"x":0.1,"y":9007199254740993,"z":1.7976931348623157e308,"n":-9223372036854775808})", "x");
  EXPECT_EQ(document["x"].GetDouble(), 0.1);
  EXPECT_EQ(document["y"].GetInt64(), 9007199254740993);
  EXPECT_EQ(document["z"].GetDouble(), 1.7976931348623157e308);
  EXPECT_EQ(json_integer(document, "n"), std::numeric_limits<std::int64_t>::min());
}

TEST(Json, RefusesDuplicateKeysAtAnyDepth) {
  expect_refused(R"({"a":1,"a":2})", "duplicate key \"a\"");
  expect_refused(R"([{"x":{"b":1,"c":2,"b":3}}])", "duplicate key \"b\"");
  expect_refused(R"({"a":1,"\u0061":2})", "duplicate key");
  EXPECT_NO_THROW(parse_json(R"({"a":{"a":1},"b":[{"a":1},{"a":2}]})", "x"));
  EXPECT_NO_THROW(parse_json(R"({"a":1,"a":2})", "x", 32, false));
}

TEST(Json, RefusesDeepNesting) {
  EXPECT_NO_THROW(parse_json(nested(32), "x"));
  expect_refused(nested(33), "nested deeper than 32");
  expect_refused(nested(1000000), "nested deeper");
  EXPECT_NO_THROW(parse_json(nested(40), "x", 40));
}

TEST(Json, RefusesNumbersThatAreNotFinite) {
  for (const char* text : {"NaN", "Infinity", "-Infinity", "[1e400]", "[-1e400]", "1e-400", "1e99999999999", "0x10", "01", "+1", ".5", "1."})
    expect_refused(text);
}

TEST(Json, ConvertsNumbersThatAreUndefinedInRapidJson) {
  // Its exact conversion shifts by clz(0) for a scaled zero and for a significand that rounds up to 2^64.
  const rapidjson::Document document = parse_json(
      "[0e-85, -0E23, 0.0e99, 0.00000000000000000000000, 0.00000000000000000000184467440737095516156666, 18446744073709551615.9, -0]", "x");
  for (const rapidjson::SizeType zero : {0u, 1u, 2u, 3u, 6u}) EXPECT_EQ(document[zero].GetDouble(), 0.0) << zero;
  EXPECT_EQ(document[4].GetDouble(), 1.84467440737095516156666e-21);
  EXPECT_EQ(document[5].GetDouble(), 18446744073709551616.0);
}

TEST(Json, IntegersBeyond64BitsAreDoubles) {
  const rapidjson::Document document = parse_json("[18446744073709551615, 18446744073709551616, -9223372036854775809]", "x");
  EXPECT_EQ(document[0].GetUint64(), 18446744073709551615u);
  EXPECT_TRUE(document[1].IsDouble());
  EXPECT_EQ(document[1].GetDouble(), 18446744073709551616.0);
  EXPECT_EQ(document[2].GetDouble(), -9223372036854775808.0);
}

TEST(Json, RefusesTrailingBytesAndTruncation) {
  for (const char* text : {"", " ", "{} x", "{}{}", "[1,]", "{\"a\":1,}", "{\"a\"", "[1", "\"abc", "tru", "{'a':1}", "// c\n{}"})
    expect_refused(text);
  // A NUL ends a C string, not a JSON text.
  expect_refused(std::string("{}\0", 3));
  expect_refused(std::string("{}\0garbage", 10));
  expect_refused(std::string("[1,\0 2]", 7));
}

TEST(Json, RefusesMalformedText) {
  expect_refused("[\"\xff\"]");
  expect_refused("[\"\xc0\xaf\"]");      // overlong
  expect_refused("[\"\xed\xa0\x80\"]");  // surrogate
  expect_refused(R"(["\ud800"])");       // half a pair
  expect_refused(R"(["\udc00"])");       // the other half
  expect_refused(R"(["\ud800\u0041"])");
  expect_refused("[\"a\nb\"]");  // raw control character
  expect_refused(R"(["\x41"])");
}

TEST(Json, NamesTheOffset) { expect_refused(R"({"a":1,"b":?})", "at byte 11"); }

TEST(Json, MembersHaveTypes) {
  const rapidjson::Document d = parse_json(R"({"s":"x","n":1.5,"i":7,"b":true,"z":null,"big":18446744073709551615})", "x");
  EXPECT_EQ(json_string(d, "s"), "x");
  EXPECT_EQ(json_number(d, "n"), 1.5);
  EXPECT_EQ(json_number(d, "i"), 7.0);
  EXPECT_EQ(json_integer(d, "i"), 7);
  EXPECT_EQ(json_bool(d, "b"), true);
  for (const char* key : {"z", "absent"}) {
    EXPECT_EQ(json_string(d, key), std::nullopt);
    EXPECT_EQ(json_number(d, key), std::nullopt);
    EXPECT_EQ(json_integer(d, key), std::nullopt);
    EXPECT_EQ(json_bool(d, key), std::nullopt);
  }
  EXPECT_GS_ERROR(json_string(d, "n"), ErrorCode::kInvalidArgument, "\"n\" must be a string");
  EXPECT_GS_ERROR(json_number(d, "s"), ErrorCode::kInvalidArgument, "\"s\"");
  EXPECT_GS_ERROR(json_integer(d, "n"), ErrorCode::kInvalidArgument, "\"n\"");
  EXPECT_GS_ERROR(json_integer(d, "big"), ErrorCode::kInvalidArgument, "\"big\"");
  EXPECT_GS_ERROR(json_bool(d, "i"), ErrorCode::kInvalidArgument, "\"i\"");
  EXPECT_EQ(json_string(d["s"], "key"), std::nullopt);  // not an object
}

}  // namespace
}  // namespace gritstone
