// The two hashes in use: SHA-256 for identity (keys, model files), XXH3-128 for detecting accidental damage (rows, files).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace gritstone {

using Sha256Digest = std::array<std::uint8_t, 32>;
using Xxh128Digest = std::array<std::uint8_t, 16>;

// Streaming SHA-256. Not thread-safe. Throws Error(kDevice) if OpenSSL fails.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  void update(std::span<const std::uint8_t> bytes);
  void update(std::string_view text);
  Sha256Digest finish();  // ends the stream; call once

 private:
  struct Deleter {
    void operator()(void* context) const noexcept;
  };
  std::unique_ptr<void, Deleter> context_;
};

Sha256Digest sha256(std::span<const std::uint8_t> bytes);
// Canonical (big-endian) XXH3-128, seed 0.
Xxh128Digest xxh128(std::span<const std::uint8_t> bytes);

std::string to_hex(std::span<const std::uint8_t> bytes);

inline std::span<const std::uint8_t> as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

}  // namespace gritstone
