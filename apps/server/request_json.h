// Members of a JSON request body, each checked for type and range; errors name the member (error.param).
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"

namespace gritstone {

// Depth 32, no duplicate keys, valid UTF-8, finite numbers, an object at the top. Throws ApiError (400).
rapidjson::Document parse_request_json(std::string_view body);

// One object of a request; borrows it. A member that is absent or null is nullopt. Throws ApiError (400) with the member's full name.
class RequestFields {
 public:
  // prefix: of the names in errors ("messages[2]."); object: anything; not an object is refused.
  explicit RequestFields(const rapidjson::Value& object, std::string prefix = {});

  std::optional<std::string> string(const char* key, std::size_t max_bytes = std::size_t{1} << 20) const;
  std::string required_string(const char* key, std::size_t max_bytes = std::size_t{1} << 20) const;  // not empty either
  std::optional<double> number(const char* key, double min, double max) const;
  std::optional<std::int64_t> integer(const char* key, std::int64_t min, std::int64_t max) const;
  std::optional<bool> boolean(const char* key) const;
  const rapidjson::Value* object(const char* key) const;  // null: absent
  const rapidjson::Value* array(const char* key, std::size_t max_items) const;
  const rapidjson::Value* find(const char* key) const;  // of any type; null: absent or null
  // One of the words, which are named in the error.
  std::optional<std::string> word(const char* key, std::initializer_list<std::string_view> words) const;
  // The member may be there only with this meaning, because nothing else is supported.
  void refuse(const char* key, std::string_view why) const;

  std::string name(std::string_view key) const { return prefix_ + std::string(key); }
  [[noreturn]] void fail(std::string_view key, const std::string& message, const std::string& code = {}) const;

 private:
  const rapidjson::Value& object_;
  std::string prefix_;
};

}  // namespace gritstone
