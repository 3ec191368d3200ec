// GPT-2's byte alphabet: byte-level vocabularies spell every byte as one printable character, so that merges can be lines of text.
// Bytes 33-126, 161-172 and 174-255 stand for themselves as code points; the other 68 are U+0100, U+0101, ... in byte order (space:
// U+0120).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace gritstone {

char32_t byte_alphabet_char(std::uint8_t byte) noexcept;

// The bytes that `spelled` stands for; nullopt if a character is not of the alphabet or the UTF-8 is malformed.
std::optional<std::string> bytes_of_spelling(std::string_view spelled);
std::string spelling_of_bytes(std::string_view bytes);

}  // namespace gritstone
