// A cursor over untrusted little-endian bytes: every read is checked and every complaint names the offset.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace gritstone {

class ByteReader {
 public:
  // Borrows both until the reader is gone.
  ByteReader(std::span<const std::uint8_t> bytes, std::string_view what) : bytes_(bytes), what_(what) {}

  std::size_t offset() const noexcept { return offset_; }
  std::size_t left() const noexcept { return bytes_.size() - offset_; }

  // The next n bytes. Throws Error(kModelRejected) if fewer are left.
  std::span<const std::uint8_t> take(std::uint64_t n, const char* field) {
    if (n > left()) {
      reject(std::string(field) + " needs " + std::to_string(n) + " bytes, " + std::to_string(left()) + " are left");
    }
    const auto taken = bytes_.subspan(offset_, static_cast<std::size_t>(n));
    offset_ += static_cast<std::size_t>(n);
    return taken;
  }

  template <typename T>
  T scalar(const char* field) {
    T value;
    std::memcpy(&value, take(sizeof(T), field).data(), sizeof(T));
    return value;
  }

  // A string with a 64-bit length in front.
  std::string_view text(std::uint64_t limit, const char* field) {
    const auto length = scalar<std::uint64_t>(field);
    if (length > limit) reject(std::string(field) + " has " + std::to_string(length) + " bytes, the limit is " + std::to_string(limit));
    const auto raw = take(length, field);
    return {reinterpret_cast<const char*>(raw.data()), raw.size()};
  }

  [[noreturn]] void reject(const std::string& reason) const {
    throw Error(ErrorCode::kModelRejected, std::string(what_) + ": " + reason + " (at byte " + std::to_string(offset_) + ")");
  }

 private:
  std::span<const std::uint8_t> bytes_;
  std::string_view what_;
  std::size_t offset_ = 0;
};

// Text of a stranger's file for a one-line message: shortened, control characters and malformed bytes shown as '?'.
std::string printable(std::string_view text, std::size_t limit = 80);

}  // namespace gritstone
