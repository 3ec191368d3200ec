#include "apps/server/request_json.h"

#include <algorithm>
#include <cmath>

#include "apps/server/api_error.h"

namespace gritstone {
namespace {

std::string number_text(double value) {
  if (value == std::floor(value) && std::abs(value) < 1e15) return std::to_string(static_cast<std::int64_t>(value));
  std::string text = std::to_string(value);
  text.erase(text.find_last_not_of('0') + 1);
  return text;
}

}  // namespace

rapidjson::Document parse_request_json(std::string_view body) {
  try {
    rapidjson::Document document = parse_json(body, "request body");
    if (!document.IsObject()) throw ApiError::bad_request("the request body must be a JSON object");
    return document;
  } catch (const Error& error) {
    throw ApiError::bad_request(error.what(), {}, "invalid_json");
  }
}

RequestFields::RequestFields(const rapidjson::Value& object, std::string prefix) : object_(object), prefix_(std::move(prefix)) {
  if (object_.IsObject()) return;
  std::string whole = prefix_.empty() ? std::string("body") : prefix_.substr(0, prefix_.size() - 1);
  const std::string message = whole + " must be an object";
  throw ApiError::bad_request(message, std::move(whole), "invalid_type");
}

void RequestFields::fail(std::string_view key, const std::string& message, const std::string& code) const {
  throw ApiError::bad_request(name(key) + ": " + message, name(key), code.empty() ? "invalid_value" : code);
}

const rapidjson::Value* RequestFields::find(const char* key) const {
  const auto member = object_.FindMember(key);
  return member == object_.MemberEnd() || member->value.IsNull() ? nullptr : &member->value;
}

std::optional<std::string> RequestFields::string(const char* key, std::size_t max_bytes) const {
  const rapidjson::Value* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->IsString()) fail(key, "must be a string", "invalid_type");
  if (value->GetStringLength() > max_bytes) {
    fail(key, "has " + std::to_string(value->GetStringLength()) + " bytes, at most " + std::to_string(max_bytes) + " are allowed",
         "string_above_max_length");
  }
  return std::string(value->GetString(), value->GetStringLength());
}

std::string RequestFields::required_string(const char* key, std::size_t max_bytes) const {
  std::optional<std::string> text = string(key, max_bytes);
  if (!text) fail(key, "is missing", "missing_required_parameter");
  if (text->empty()) fail(key, "is empty");
  return std::move(*text);
}

std::optional<double> RequestFields::number(const char* key, double min, double max) const {
  const rapidjson::Value* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->IsNumber()) fail(key, "must be a number", "invalid_type");
  const double number = value->GetDouble();
  if (!(number >= min && number <= max)) {
    fail(key, "must be between " + number_text(min) + " and " + number_text(max) + ", not " + number_text(number));
  }
  return number;
}

std::optional<std::int64_t> RequestFields::integer(const char* key, std::int64_t min, std::int64_t max) const {
  const rapidjson::Value* value = find(key);
  if (value == nullptr) return std::nullopt;
  std::int64_t number = 0;
  if (value->IsInt64()) {
    number = value->GetInt64();
  } else if (value->IsNumber() && value->GetDouble() == std::floor(value->GetDouble()) && std::abs(value->GetDouble()) < 9e15) {
    number = static_cast<std::int64_t>(value->GetDouble());  // 3.0 is an integer to JSON
  } else if (value->IsNumber()) {
    fail(key, "must be an integer between " + std::to_string(min) + " and " + std::to_string(max), "invalid_type");
  } else {
    fail(key, "must be an integer", "invalid_type");
  }
  if (number < min || number > max) {
    fail(key, "must be between " + std::to_string(min) + " and " + std::to_string(max) + ", not " + std::to_string(number));
  }
  return number;
}

std::optional<bool> RequestFields::boolean(const char* key) const {
  const rapidjson::Value* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->IsBool()) fail(key, "must be true or false", "invalid_type");
  return value->GetBool();
}

const rapidjson::Value* RequestFields::object(const char* key) const {
  const rapidjson::Value* value = find(key);
  if (value != nullptr && !value->IsObject()) fail(key, "must be an object", "invalid_type");
  return value;
}

const rapidjson::Value* RequestFields::array(const char* key, std::size_t max_items) const {
  const rapidjson::Value* value = find(key);
  if (value == nullptr) return nullptr;
  if (!value->IsArray()) fail(key, "must be an array", "invalid_type");
  if (value->Size() > max_items) {
    fail(key, "has " + std::to_string(value->Size()) + " items, at most " + std::to_string(max_items) + " are allowed",
         "array_above_max_length");
  }
  return value;
}

std::optional<std::string> RequestFields::word(const char* key, std::initializer_list<std::string_view> words) const {
  std::optional<std::string> text = string(key);
  if (!text || std::find(words.begin(), words.end(), *text) != words.end()) return text;
  std::string choices;
  for (const std::string_view word : words) choices += (choices.empty() ? "" : ", ") + std::string(word);
  fail(key, "must be one of: " + choices);
}

void RequestFields::refuse(const char* key, std::string_view why) const {
  if (find(key) != nullptr) fail(key, std::string(why), "unsupported_parameter");
}

}  // namespace gritstone
