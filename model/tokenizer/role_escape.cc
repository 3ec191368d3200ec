#include "model/tokenizer/role_escape.h"

#include <cstddef>

namespace gritstone {
namespace {

constexpr std::size_t kMaxName = 64;

bool is_name_char(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

// Whether "name|>" stands at text[at].
bool name_and_close(std::string_view text, std::size_t at) noexcept {
  std::size_t end = at;
  while (end < text.size() && end - at <= kMaxName && is_name_char(text[end])) ++end;
  return end > at && end - at <= kMaxName && text.substr(end, 2) == "|>";
}

}  // namespace

std::string escape_roles(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  std::size_t copied = 0;
  for (std::size_t at = text.find("<|"); at != std::string_view::npos; at = text.find("<|", at + 2)) {
    if (!name_and_close(text, at + 2)) continue;
    out += text.substr(copied, at + 2 - copied);
    out += ' ';
    copied = at + 2;
  }
  out += text.substr(copied);
  return out;
}

}  // namespace gritstone
