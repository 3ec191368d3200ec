#include "base/hash.h"

#include <openssl/evp.h>
#include <xxhash.h>

#include <cstring>

#include "base/error.h"

namespace gritstone {
namespace {

EVP_MD_CTX* evp(void* context) { return static_cast<EVP_MD_CTX*>(context); }

void require(int ok) {
  if (ok != 1) throw Error(ErrorCode::kDevice, "SHA-256 failed in OpenSSL");
}

}  // namespace

void Sha256::Deleter::operator()(void* context) const noexcept { EVP_MD_CTX_free(evp(context)); }

Sha256::Sha256() : context_(EVP_MD_CTX_new()) { require(context_ && EVP_DigestInit_ex(evp(context_.get()), EVP_sha256(), nullptr)); }
Sha256::~Sha256() = default;

void Sha256::update(std::span<const std::uint8_t> bytes) { require(EVP_DigestUpdate(evp(context_.get()), bytes.data(), bytes.size())); }
void Sha256::update(std::string_view text) { update(as_bytes(text)); }

Sha256Digest Sha256::finish() {
  Sha256Digest digest{};
  unsigned size = 0;
  require(EVP_DigestFinal_ex(evp(context_.get()), digest.data(), &size));
  return digest;
}

Sha256Digest sha256(std::span<const std::uint8_t> bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.finish();
}

Xxh128Digest xxh128(std::span<const std::uint8_t> bytes) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits(bytes.data(), bytes.size()));
  Xxh128Digest digest;
  static_assert(sizeof(canonical.digest) == sizeof(digest));
  std::memcpy(digest.data(), canonical.digest, sizeof(digest));
  return digest;
}

std::string to_hex(std::span<const std::uint8_t> bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const std::uint8_t byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

}  // namespace gritstone
