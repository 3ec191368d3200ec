#include "model/tokenizer/byte_alphabet.h"

#include <array>

#include "base/utf8.h"

namespace gritstone {
namespace {

constexpr char32_t kLast = 0x143;  // 0x100 + 68 - 1

constexpr bool stands_for_itself(unsigned byte) { return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174; }

struct Alphabet {
  std::array<char16_t, 256> of_byte{};
  std::array<std::int16_t, kLast + 1> to_byte{};
};

constexpr Alphabet make_alphabet() {
  Alphabet alphabet;
  for (auto& byte : alphabet.to_byte) byte = -1;
  char16_t next = 0x100;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const char16_t c = stands_for_itself(byte) ? static_cast<char16_t>(byte) : next++;
    alphabet.of_byte[byte] = c;
    alphabet.to_byte[c] = static_cast<std::int16_t>(byte);
  }
  return alphabet;
}

constexpr Alphabet kAlphabet = make_alphabet();

}  // namespace

char32_t byte_alphabet_char(std::uint8_t byte) noexcept { return kAlphabet.of_byte[byte]; }

std::optional<std::string> bytes_of_spelling(std::string_view spelled) {
  std::string bytes;
  bytes.reserve(spelled.size());
  for (std::size_t i = 0; i < spelled.size();) {
    const Utf8Decoded decoded = decode_utf8(spelled, i);
    if (!decoded.valid || decoded.code_point > kLast || kAlphabet.to_byte[decoded.code_point] < 0) return std::nullopt;
    bytes += static_cast<char>(kAlphabet.to_byte[decoded.code_point]);
    i += decoded.length;
  }
  return bytes;
}

std::string spelling_of_bytes(std::string_view bytes) {
  std::string spelled;
  spelled.reserve(bytes.size() * 2);
  for (const char byte : bytes) append_utf8(spelled, byte_alphabet_char(static_cast<std::uint8_t>(byte)));
  return spelled;
}

}  // namespace gritstone
