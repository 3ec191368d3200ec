#include "base/json.h"

#include <rapidjson/error/en.h>
#include <rapidjson/memorystream.h>
#include <rapidjson/reader.h>

#include <algorithm>
#include <cmath>
#include <unordered_set>
#include <vector>

#include "base/error.h"
#include "base/utf8.h"

namespace gritstone {
namespace {

// First pass over the text: a SAX handler that builds nothing but a stack, so that hostile nesting and duplicate keys are found before a
// document is built. RapidJSON keeps the last of duplicate keys while other readers keep the first, which lets a file mean two things.
class GuardHandler : public rapidjson::BaseReaderHandler<rapidjson::UTF8<>, GuardHandler> {
 public:
  GuardHandler(std::size_t max_depth, bool check_duplicate_keys) : max_depth_(max_depth), check_duplicate_keys_(check_duplicate_keys) {}

  bool StartObject() {
    keys_.emplace_back();
    return enter();
  }
  bool EndObject(rapidjson::SizeType) {
    keys_.pop_back();
    --depth_;
    return true;
  }
  bool StartArray() { return enter(); }
  bool EndArray(rapidjson::SizeType) {
    --depth_;
    return true;
  }
  bool Key(const char* text, rapidjson::SizeType length, bool) {
    if (!valid(text, length)) return false;
    if (!check_duplicate_keys_) return true;
    if (keys_.back().emplace(text, length).second) return true;
    problem = "duplicate key \"" + std::string(text, std::min<std::size_t>(length, 80)) + "\"";
    return false;
  }
  bool String(const char* text, rapidjson::SizeType length, bool) { return valid(text, length); }
  bool Double(double value) {
    if (std::isfinite(value)) return true;
    problem = "number out of range";
    return false;
  }

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

  std::size_t max_depth_;
  bool check_duplicate_keys_;
  std::size_t depth_ = 0;
  std::vector<std::unordered_set<std::string>> keys_;
};

constexpr unsigned kFlags = rapidjson::kParseIterativeFlag | rapidjson::kParseValidateEncodingFlag | rapidjson::kParseFullPrecisionFlag;

// Offset of a number whose digits are all 0 and whose exponent, fraction digits included, exceeds 22 ("0e-85"); npos if there is none.
// RapidJSON 1.1 normalises the significand 0 of such a number with clz(0), which is undefined (diyfp.h; found by fuzzing).
std::size_t find_scaled_zero(std::string_view text) {
  constexpr int kLargestExactPower = 22;
  const auto is_digit = [&text](std::size_t i) { return i < text.size() && text[i] >= '0' && text[i] <= '9'; };
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"') {
      for (++i; i < text.size() && text[i] != '"'; ++i) i += text[i] == '\\' ? 1 : 0;
    } else if (is_digit(i)) {
      const std::size_t start = i;
      bool zero = true;
      std::size_t scale = 0;
      for (; is_digit(i); ++i) zero = zero && text[i] == '0';
      if (i < text.size() && text[i] == '.') {
        for (++i; is_digit(i); ++i, ++scale) zero = zero && text[i] == '0';
      }
      if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
        ++i;
        if (i < text.size() && (text[i] == '+' || text[i] == '-')) ++i;
        std::size_t exponent = 0;
        for (; is_digit(i); ++i) exponent = std::min<std::size_t>(exponent * 10 + static_cast<std::size_t>(text[i] - '0'), 100000);
        scale += exponent;
      }
      if (zero && scale > kLargestExactPower) return start;
      --i;
    }
  }
  return std::string_view::npos;
}

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
  if (const std::size_t zero = find_scaled_zero(text); zero != std::string_view::npos) {
    throw Error(ErrorCode::kInvalidArgument, std::string(what) + ": zero with an exponent beyond 22 at byte " + std::to_string(zero));
  }
  GuardHandler guard(max_depth, check_duplicate_keys);
  {
    rapidjson::MemoryStream stream(text.data(), text.size());
    rapidjson::EncodedInputStream<rapidjson::UTF8<>, rapidjson::MemoryStream> input(stream);
    rapidjson::Reader reader;
    const rapidjson::ParseResult result = reader.Parse<kFlags>(input, guard);
    if (result.IsError()) {
      const std::string reason = guard.problem.empty() ? rapidjson::GetParseError_En(result.Code()) : guard.problem;
      throw Error(ErrorCode::kInvalidArgument, std::string(what) + ": " + reason + " at byte " + std::to_string(result.Offset()));
    }
  }
  rapidjson::Document document;
  document.Parse<kFlags>(text.data(), text.size());
  if (document.HasParseError()) {
    throw Error(ErrorCode::kInvalidArgument, std::string(what) + ": " + rapidjson::GetParseError_En(document.GetParseError()) +
                                                 " at byte " + std::to_string(document.GetErrorOffset()));
  }
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
