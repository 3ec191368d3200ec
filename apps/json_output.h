// The one JSON document a command prints with --json.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/json.h"

namespace gritstone {

// Writes objects and arrays in call order. Strings become valid UTF-8 (paths and decoded tokens need not be); numbers that are not finite
// become null, because JSON has none. Not thread-safe.
class JsonOutput {
 public:
  JsonOutput() : writer_(buffer_) {}

  JsonOutput& begin_object() { return writer_.StartObject(), *this; }
  JsonOutput& begin_object(std::string_view key) { return this->key(key), begin_object(); }
  JsonOutput& end_object() { return writer_.EndObject(), *this; }
  JsonOutput& begin_array() { return writer_.StartArray(), *this; }
  JsonOutput& begin_array(std::string_view key) { return this->key(key), begin_array(); }
  JsonOutput& end_array() { return writer_.EndArray(), *this; }
  JsonOutput& key(std::string_view name);

  JsonOutput& value(std::string_view text);
  JsonOutput& value(const char* text) { return value(std::string_view(text)); }
  JsonOutput& value(const std::string& text) { return value(std::string_view(text)); }
  JsonOutput& value(double number);
  JsonOutput& value(float number);  // shortest text that reads back as the same float
  JsonOutput& value(bool truth) { return writer_.Bool(truth), *this; }
  template <typename Integer, std::enable_if_t<std::is_integral_v<Integer> && !std::is_same_v<Integer, bool>, int> = 0>
  JsonOutput& value(Integer number) {
    if constexpr (std::is_signed_v<Integer>) {
      writer_.Int64(number);
    } else {
      writer_.Uint64(number);
    }
    return *this;
  }
  JsonOutput& null() { return writer_.Null(), *this; }
  // Text that is JSON already.
  JsonOutput& raw(std::string_view json);

  template <typename Value>
  JsonOutput& field(std::string_view name, const Value& v) {
    return key(name), value(v);
  }
  template <typename Range>
  JsonOutput& array(std::string_view name, const Range& values) {
    begin_array(name);
    for (const auto& v : values) value(v);
    return end_array();
  }

  // Prints the document and a line feed to standard output.
  void print() const;
  std::string text() const { return {buffer_.GetString(), buffer_.GetSize()}; }

 private:
  rapidjson::StringBuffer buffer_;
  rapidjson::Writer<rapidjson::StringBuffer> writer_;
};

}  // namespace gritstone
