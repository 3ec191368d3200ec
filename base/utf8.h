// UTF-8 at the byte level. Offsets everywhere in the project are bytes of UTF-8.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace gritstone {

// Code point at text[offset] and its length in bytes. Malformed input (stray or missing continuation, overlong, surrogate, above U+10FFFF)
// gives {0xFFFD, 1, false}. REQUIRES: offset < text.size().
struct Utf8Decoded {
  char32_t code_point;
  std::size_t length;
  bool valid;
};
Utf8Decoded decode_utf8(std::string_view text, std::size_t offset) noexcept;

bool is_valid_utf8(std::string_view text) noexcept;
void append_utf8(std::string& out, char32_t code_point);

// Copy of `text` in which every malformed byte is U+FFFD; `replaced` counts them.
std::string sanitize_utf8(std::string_view text, std::size_t* replaced = nullptr);

// Characters of valid UTF-8, as limits of APIs count them.
std::size_t count_code_points(std::string_view text) noexcept;

// Length of the longest prefix of `text` that does not end inside a code point: what a streaming writer may print now.
std::size_t complete_utf8_prefix(std::string_view text) noexcept;

}  // namespace gritstone
