#include "base/hash.h"

#include <gtest/gtest.h>

#include <string>

namespace gritstone {
namespace {

// Vectors of FIPS 180-2, appendix B.
TEST(Sha256, KnownVectors) {
  EXPECT_EQ(to_hex(sha256({})), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(to_hex(sha256(as_bytes("abc"))), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(to_hex(sha256(as_bytes("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"))),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

TEST(Sha256, StreamingEqualsOneShot) {
  const std::string million(1000000, 'a');
  Sha256 hash;
  for (std::size_t i = 0; i < million.size(); i += 977) hash.update(std::string_view(million).substr(i, 977));
  const Sha256Digest digest = hash.finish();
  EXPECT_EQ(to_hex(digest), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  EXPECT_EQ(digest, sha256(as_bytes(million)));
}

// Value of the XXH3 specification's empty input, seed 0.
TEST(Xxh128, KnownVectorAndSensitivity) {
  EXPECT_EQ(to_hex(xxh128({})), "99aa06d3014798d86001c324468d497f");
  std::string text(1000, 'x');
  const Xxh128Digest before = xxh128(as_bytes(text));
  text[999] ^= 1;
  EXPECT_NE(xxh128(as_bytes(text)), before);
}

TEST(Hex, TwoLowerCaseDigitsAByte) {
  const std::uint8_t bytes[] = {0x00, 0x0f, 0xa5, 0xff};
  EXPECT_EQ(to_hex(bytes), "000fa5ff");
  EXPECT_EQ(to_hex({}), "");
}

}  // namespace
}  // namespace gritstone
