#include "index/span_key.h"

#include <cstring>

namespace gritstone {
namespace {

void add(Sha256& hash, std::string_view text) {
  const std::uint64_t size = text.size();  // so that "ab" + "c" and "a" + "bc" differ
  std::uint8_t bytes[8];
  std::memcpy(bytes, &size, 8);
  hash.update(bytes);
  hash.update(text);
}

}  // namespace

SpanKey span_key(const SpanScope& scope, const SpanKey* left, std::span<const std::int32_t> ids) {
  Sha256 hash;
  for (const std::string* part : {&scope.model, &scope.tokenizer, &scope.numerics, &scope.salt}) add(hash, *part);
  const std::uint8_t flags[3] = {static_cast<std::uint8_t>(scope.type), scope.bidirectional, left != nullptr};
  hash.update(flags);
  if (left != nullptr) hash.update(*left);
  hash.update({reinterpret_cast<const std::uint8_t*>(ids.data()), ids.size_bytes()});
  return hash.finish();
}

}  // namespace gritstone
