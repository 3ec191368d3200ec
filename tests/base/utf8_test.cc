#include "base/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace gritstone {
namespace {

std::string encoded(char32_t c) {
  std::string out;
  append_utf8(out, c);
  return out;
}

TEST(Utf8, EveryCodePointRoundTrips) {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c == 0xD800) c = 0xE000;  // surrogates are no characters
    const std::string text = encoded(c);
    const Utf8Decoded decoded = decode_utf8(text, 0);
    ASSERT_TRUE(decoded.valid) << static_cast<std::uint32_t>(c);
    ASSERT_EQ(decoded.code_point, c);
    ASSERT_EQ(decoded.length, text.size());
  }
}

TEST(Utf8, MalformedBytesAreOneReplacementEach) {
  const std::string_view malformed[] = {"\x80",
                                        "\xbf",
                                        "\xc0\xaf",
                                        "\xc1\xbf",
                                        "\xe0\x80\x80",
                                        "\xed\xa0\x80",
                                        "\xed\xbf\xbf",
                                        "\xf0\x80\x80\x80",
                                        "\xf4\x90\x80\x80",
                                        "\xf5\x80\x80\x80",
                                        "\xfe",
                                        "\xff",
                                        "\xe2\x82",
                                        "\xc3",
                                        "\xf0\x9f\x98"};
  for (const std::string_view text : malformed) {
    const Utf8Decoded decoded = decode_utf8(text, 0);
    EXPECT_FALSE(decoded.valid);
    EXPECT_EQ(decoded.code_point, U'\uFFFD');
    EXPECT_EQ(decoded.length, 1u);
    EXPECT_FALSE(is_valid_utf8(text));
    std::size_t replaced = 0;
    const std::string clean = sanitize_utf8(text, &replaced);
    EXPECT_EQ(replaced, text.size());
    EXPECT_TRUE(is_valid_utf8(clean));
  }
  EXPECT_EQ(sanitize_utf8("a\xff\x62"), "a\xef\xbf\xbd\x62");
}

TEST(Utf8, ValidTextIsUnchanged) {
  std::size_t replaced = 7;
  const std::string text = "aé漢😀\n";
  EXPECT_TRUE(is_valid_utf8(text));
  EXPECT_EQ(sanitize_utf8(text, &replaced), text);
  EXPECT_EQ(replaced, 0u);
  EXPECT_TRUE(is_valid_utf8(""));
}

TEST(Utf8, CompletePrefixEndsBetweenCodePoints) {
  const std::string text = "aé漢😀";
  const std::size_t boundaries[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10};
  for (std::size_t n = 0; n <= text.size(); ++n) EXPECT_EQ(complete_utf8_prefix(std::string_view(text).substr(0, n)), boundaries[n]) << n;
  EXPECT_EQ(complete_utf8_prefix("\x80\x80\x80\x80\x80"), 5u);  // no start in sight: nothing to wait for
  EXPECT_EQ(complete_utf8_prefix("a\xff"), 2u);
}

TEST(Utf8, CountsCharacters) {
  EXPECT_EQ(count_code_points(""), 0u);
  EXPECT_EQ(count_code_points("abc"), 3u);
  EXPECT_EQ(count_code_points("a\xC3\xA4\xE2\x82\xAC\xF0\x9F\x90\x99"), 4u);
}

}  // namespace
}  // namespace gritstone
