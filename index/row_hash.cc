#include "index/row_hash.h"

namespace gritstone {

RowHash& RowHash::add(std::int64_t value) {
  const auto bits = static_cast<std::uint64_t>(value);
  for (int shift = 0; shift < 64; shift += 8) buffer_.push_back(static_cast<std::uint8_t>(bits >> shift));
  return *this;
}

RowHash& RowHash::add(std::string_view text) { return add(as_bytes(text)); }

RowHash& RowHash::add(std::span<const std::uint8_t> bytes) {
  add(static_cast<std::int64_t>(bytes.size()));
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  return *this;
}

}  // namespace gritstone
