#include "base/json.h"

#include <rapidjson/error/en.h>
#include <rapidjson/memorystream.h>
#include <rapidjson/reader.h>

#include <algorithm>
#include <charconv>
#include <system_error>
#include <unordered_set>
#include <vector>

#include "base/error.h"
#include "base/utf8.h"

namespace gritstone {
namespace {

// SAX handler between RapidJSON's reader and the document: what a stranger may not send stops the parse before it is built. RapidJSON keeps
// the last of duplicate keys while other readers keep the first, which lets a file mean two things.
class Guard {
 public:
  using Ch = char;

  Guard(rapidjson::Document& document, std::size_t max_depth, bool check_duplicate_keys)
      : document_(document), max_depth_(max_depth), check_duplicate_keys_(check_duplicate_keys) {}

  bool StartObject() {
    keys_.emplace_back();
    return enter() && document_.StartObject();
  }
  bool EndObject(rapidjson::SizeType members) {
    keys_.pop_back();
    --depth_;
    return document_.EndObject(members);
  }
  bool StartArray() { return enter() && document_.StartArray(); }
  bool EndArray(rapidjson::SizeType elements) {
    --depth_;
    return document_.EndArray(elements);
  }
  bool Key(const char* text, rapidjson::SizeType length, bool copy) {
    if (!valid(text, length)) return false;
    if (!check_duplicate_keys_ || keys_.back().emplace(text, length).second) return document_.Key(text, length, copy);
    problem = "duplicate key \"" + std::string(text, std::min<std::size_t>(length, 80)) + "\"";
    return false;
  }
  bool String(const char* text, rapidjson::SizeType length, bool copy) { return valid(text, length) && document_.String(text, length, copy); }
  bool Null() { return document_.Null(); }
  bool Bool(bool value) { return document_.Bool(value); }

  // RapidJSON 1.1 has checked the grammar. Its conversion to double is undefined for a significand that rounds up past 64 bits and for a
  // scaled zero (diyfp.h, Normalize; both found by fuzzing), so the standard library converts.
  bool RawNumber(const char* text, rapidjson::SizeType length, bool) {
    const char* const end = text + length;
    if (std::find_if(text, end, [](char c) { return c == '.' || c == 'e' || c == 'E'; }) == end) {
      std::int64_t integer = 0;
      if (std::from_chars(text, end, integer).ec == std::errc()) return document_.Int64(integer);
      std::uint64_t natural = 0;
      if (std::from_chars(text, end, natural).ec == std::errc()) return document_.Uint64(natural);
    }
    double value = 0;
    if (std::from_chars(text, end, value).ec == std::errc()) return document_.Double(value);
    problem = "number out of range";
    return false;
  }
  // Of the reader's interface, never called: all numbers come as text.
  bool Int(int) { return false; }
  bool Uint(unsigned) { return false; }
  bool Int64(std::int64_t) { return false; }
  bool Uint64(std::uint64_t) { return false; }
  bool Double(double) { return false; }

  std::string problem;

 private:
  // RapidJSON 1.1 checks the bytes but lets the escape of a lone low surrogate (\udc00) through.
  bool valid(const char* text, std::size_t length) {
    if (is_valid_utf8({text, length})) return true;
    problem = "invalid UTF-8 or a lone surrogate in a string";
    return false;
  }

  bool enter() {
    if (++depth_ <= max_depth_) return true;
    problem = "nested deeper than " + std::to_string(max_depth_);
    return false;
  }

  rapidjson::Document& document_;
  std::size_t max_depth_;
  bool check_duplicate_keys_;
  std::size_t depth_ = 0;
  std::vector<std::unordered_set<std::string>> keys_;
};

constexpr unsigned kFlags = rapidjson::kParseIterativeFlag | rapidjson::kParseValidateEncodingFlag | rapidjson::kParseNumbersAsStringsFlag;

const rapidjson::Value* member(const rapidjson::Value& object, const char* key) {
  if (!object.IsObject()) return nullptr;
  const auto it = object.FindMember(key);
  return it == object.MemberEnd() || it->value.IsNull() ? nullptr : &it->value;
}

[[noreturn]] void wrong_type(const char* key, const char* expected) {
  throw Error(ErrorCode::kInvalidArgument, std::string("\"") + key + "\" must be " + expected);
}

}  // namespace

rapidjson::Document parse_json(std::string_view text, std::string_view what, std::size_t max_depth, bool check_duplicate_keys) {
  // RapidJSON takes a NUL for the end and would ignore what follows.
  if (const std::size_t nul = text.find('\0'); nul != std::string_view::npos) {
    throw Error(ErrorCode::kInvalidArgument, std::string(what) + ": NUL at byte " + std::to_string(nul));
  }
  rapidjson::MemoryStream stream(text.data(), text.size());
  rapidjson::EncodedInputStream<rapidjson::UTF8<>, rapidjson::MemoryStream> input(stream);
  rapidjson::Document document;
  auto read = [&](rapidjson::Document& into) {
    Guard guard(into, max_depth, check_duplicate_keys);
    rapidjson::Reader reader;
    const rapidjson::ParseResult result = reader.Parse<kFlags>(input, guard);
    if (!result.IsError()) return true;
    const std::string reason = guard.problem.empty() ? rapidjson::GetParseError_En(result.Code()) : guard.problem;
    throw Error(ErrorCode::kInvalidArgument, std::string(what) + ": " + reason + " at byte " + std::to_string(result.Offset()));
  };
  document.Populate(read);
  return document;
}

std::optional<std::string> json_string(const rapidjson::Value& object, const char* key) {
  const rapidjson::Value* value = member(object, key);
  if (value == nullptr) return std::nullopt;
  if (!value->IsString()) wrong_type(key, "a string");
  return std::string(value->GetString(), value->GetStringLength());
}

std::optional<double> json_number(const rapidjson::Value& object, const char* key) {
  const rapidjson::Value* value = member(object, key);
  if (value == nullptr) return std::nullopt;
  if (!value->IsNumber()) wrong_type(key, "a number");
  return value->GetDouble();
}

std::optional<std::int64_t> json_integer(const rapidjson::Value& object, const char* key) {
  const rapidjson::Value* value = member(object, key);
  if (value == nullptr) return std::nullopt;
  if (!value->IsInt64()) wrong_type(key, "an integer");
  return value->GetInt64();
}

std::optional<bool> json_bool(const rapidjson::Value& object, const char* key) {
  const rapidjson::Value* value = member(object, key);
  if (value == nullptr) return std::nullopt;
  if (!value->IsBool()) wrong_type(key, "true or false");
  return value->GetBool();
}

std::string json_text(const rapidjson::Value& value) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  value.Accept(writer);
  return {buffer.GetString(), buffer.GetSize()};
}

}  // namespace gritstone
