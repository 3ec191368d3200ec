// The three Unicode properties that pre-tokenisers ask for.
#pragma once

#include <unicode/uchar.h>

#include <array>
#include <cstdint>
#include <string_view>

#include "base/utf8.h"

namespace gritstone {

enum class CharClass : std::uint8_t {
  kOther,
  kLetter,  // \p{L}
  kNumber,  // \p{N}
  kSpace,   // \s: Unicode White_Space, as Hugging Face's and llama.cpp's expressions read it
};

inline CharClass unicode_class(char32_t c) noexcept {
  const std::uint32_t mask = U_MASK(u_charType(static_cast<UChar32>(c)));
  if (mask & U_GC_L_MASK) return CharClass::kLetter;
  if (mask & U_GC_N_MASK) return CharClass::kNumber;
  return u_isUWhiteSpace(static_cast<UChar32>(c)) ? CharClass::kSpace : CharClass::kOther;
}

inline constexpr std::array<CharClass, 128> kAsciiClass = [] {
  std::array<CharClass, 128> classes{};
  for (unsigned c = 0; c < 128; ++c) {
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) classes[c] = CharClass::kLetter;
    if (c >= '0' && c <= '9') classes[c] = CharClass::kNumber;
    if ((c >= 9 && c <= 13) || c == ' ') classes[c] = CharClass::kSpace;
  }
  return classes;
}();

struct ClassifiedChar {
  char32_t code_point;
  std::uint32_t length;  // bytes; a malformed byte is one kOther of length 1
  CharClass kind;
};

// REQUIRES: offset < text.size().
inline ClassifiedChar classify(std::string_view text, std::size_t offset) noexcept {
  const auto byte = static_cast<std::uint8_t>(text[offset]);
  if (byte < 128) return {byte, 1, kAsciiClass[byte]};
  const Utf8Decoded decoded = decode_utf8(text, offset);
  if (!decoded.valid) return {decoded.code_point, 1, CharClass::kOther};
  return {decoded.code_point, static_cast<std::uint32_t>(decoded.length), unicode_class(decoded.code_point)};
}

}  // namespace gritstone
