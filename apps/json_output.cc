#include "apps/json_output.h"

#include <charconv>
#include <cmath>

#include "apps/terminal.h"
#include "base/utf8.h"

namespace gritstone {

JsonOutput& JsonOutput::key(std::string_view name) {
  writer_.Key(name.data(), static_cast<rapidjson::SizeType>(name.size()));
  return *this;
}

JsonOutput& JsonOutput::value(std::string_view text) {
  const std::string valid = sanitize_utf8(text);
  writer_.String(valid.data(), static_cast<rapidjson::SizeType>(valid.size()));
  return *this;
}

JsonOutput& JsonOutput::value(double number) {
  if (!std::isfinite(number)) return null();
  writer_.Double(number);
  return *this;
}

JsonOutput& JsonOutput::value(float number) {
  if (!std::isfinite(number)) return null();
  char text[32];
  const std::to_chars_result end = std::to_chars(text, text + sizeof(text), number);
  writer_.RawValue(text, static_cast<std::size_t>(end.ptr - text), rapidjson::kNumberType);
  return *this;
}

JsonOutput& JsonOutput::raw(std::string_view json) {
  writer_.RawValue(json.data(), json.size(), rapidjson::kObjectType);
  return *this;
}

void JsonOutput::print() const { print_out(text() + "\n"); }

}  // namespace gritstone
