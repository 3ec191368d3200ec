// KV states of a stretch of tokens, free of position: K is kept after its norm and before RoPE.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace gritstone {

enum class KvType : std::uint8_t { kF32, kBF16, kInt8 };

// Bytes of one token's K (or V) in one layer. int8: per head one f32 scale followed by head_dim values.
constexpr std::size_t kv_row_bytes(KvType type, std::size_t kv_heads, std::size_t head_dim) noexcept {
  switch (type) {
    case KvType::kF32:
      return kv_heads * head_dim * 4;
    case KvType::kBF16:
      return kv_heads * head_dim * 2;
    case KvType::kInt8:
      return kv_heads * (head_dim + 4);
  }
  return 0;
}

// bytes: [layers][2 (K, V)][tokens][kv_row_bytes]. Immutable once shared.
struct KvSpan {
  KvType type = KvType::kBF16;
  std::size_t layers = 0;
  std::size_t tokens = 0;
  std::size_t row_bytes = 0;
  std::vector<std::uint8_t> bytes;

  const std::uint8_t* row(std::size_t layer, bool value, std::size_t token) const noexcept {
    return bytes.data() + ((layer * 2 + (value ? 1 : 0)) * tokens + token) * row_bytes;
  }
};

}  // namespace gritstone
