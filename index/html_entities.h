// Character references: "&eacute;", "&#233;", "&#xE9;".
#pragma once

#include <cstddef>
#include <string_view>

namespace gritstone {

struct Entity {
  char32_t code_point = 0;
  std::size_t length = 0;  // bytes of the reference; 0 = none there, the ampersand is text
};

// Reference at text[at]. REQUIRES: text[at] == '&'.
Entity decode_entity(std::string_view text, std::size_t at);

}  // namespace gritstone
