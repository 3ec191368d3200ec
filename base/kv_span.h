// KV states of a stretch of tokens, free of position: K is kept after its norm and before RoPE. What the engine computes, the store keeps
// and the engine reads again; plain data, so that neither needs to know the other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace gritstone {

// kInt4 is for spans at rest only; the others are also types of the live cache.
enum class KvType : std::uint8_t { kF32, kBF16, kInt8, kInt4 };

constexpr std::string_view kv_type_name(KvType type) noexcept {
  switch (type) {
    case KvType::kF32:
      return "f32";
    case KvType::kBF16:
      return "bf16";
    case KvType::kInt8:
      return "int8";
    case KvType::kInt4:
      return "int4";
  }
  return "";
}
constexpr std::optional<KvType> kv_type_from_name(std::string_view name) noexcept {
  for (const KvType type : {KvType::kF32, KvType::kBF16, KvType::kInt8, KvType::kInt4}) {
    if (kv_type_name(type) == name) return type;
  }
  return std::nullopt;
}

struct KvShape {
  std::size_t layers = 0;
  std::size_t kv_heads = 0;
  std::size_t head_dim = 0;
  bool operator==(const KvShape&) const = default;
};

// Bytes of one token's K (or V) of one head where rows stand alone. int8: one f32 scale, then head_dim values.
constexpr std::size_t kv_row_bytes(KvType type, std::size_t head_dim) noexcept {
  switch (type) {
    case KvType::kF32:
      return head_dim * 4;
    case KvType::kBF16:
      return head_dim * 2;
    case KvType::kInt8:
      return head_dim + 4;
    case KvType::kInt4:
      return (head_dim + 31) / 32 * 16;  // codes alone, see kv_plane_bytes
  }
  return 0;
}

// int4 is affine (x = min + scale * code), both f16. V has a pair per token; K, whose channels differ in magnitude by an order, a pair per
// channel and group of tokens. A plane has tokens / 128 groups, at least one; the last takes the remainder.
inline constexpr std::size_t kInt4GroupTokens = 128;
constexpr std::size_t int4_groups(std::size_t tokens) noexcept { return tokens < 2 * kInt4GroupTokens ? 1 : tokens / kInt4GroupTokens; }

// Bytes of one plane: K (value false) or V of one head in one layer.
//   f32, bf16, int8  [tokens] rows of kv_row_bytes
//   int4 K           [groups][head_dim] f16 scale, [groups][head_dim] f16 min, [tokens] codes
//   int4 V           [tokens] f16 scale, [tokens] f16 min, [tokens] codes
// Codes of a row: 16 bytes per 32 columns, column i of the first sixteen in the low nibble of byte i, column 16 + i in the high one.
// OLMoE-1B-7B, a token: 256 KiB in f32, 128 in bf16, 66 in int8, 34 in int4 (256 tokens).
constexpr std::size_t kv_plane_bytes(KvType type, bool value, std::size_t tokens, std::size_t head_dim) noexcept {
  const std::size_t rows = tokens * kv_row_bytes(type, head_dim);
  if (type != KvType::kInt4) return rows;
  return rows + 4 * (value ? tokens : int4_groups(tokens) * head_dim);
}

// Immutable once shared; the bytes live as long as `owner` (a vector, a mapped file).
struct KvSpan {
  KvType type = KvType::kBF16;
  KvShape shape;
  std::size_t tokens = 0;
  std::shared_ptr<const void> owner;
  std::span<const std::uint8_t> bytes;  // [layers][K of every head, V of every head] planes

  std::size_t layer_bytes() const noexcept {
    return shape.kv_heads * (kv_plane_bytes(type, false, tokens, shape.head_dim) + kv_plane_bytes(type, true, tokens, shape.head_dim));
  }
  std::size_t total_bytes() const noexcept { return shape.layers * layer_bytes(); }
  const std::uint8_t* plane(std::size_t layer, bool value, std::size_t head) const noexcept {
    const std::size_t k_bytes = kv_plane_bytes(type, false, tokens, shape.head_dim);
    const std::uint8_t* k = bytes.data() + layer * layer_bytes();
    return value ? k + shape.kv_heads * k_bytes + head * kv_plane_bytes(type, true, tokens, shape.head_dim) : k + head * k_bytes;
  }
};

// A span that owns its bytes, which the caller may fill until it shares the span.
inline std::pair<KvSpan, std::span<std::uint8_t>> make_kv_span(KvType type, const KvShape& shape, std::size_t tokens) {
  KvSpan span;
  span.type = type;
  span.shape = shape;
  span.tokens = tokens;
  auto bytes = std::make_shared<std::vector<std::uint8_t>>(span.total_bytes());
  span.bytes = *bytes;
  const std::span<std::uint8_t> writable(*bytes);
  span.owner = std::move(bytes);
  return {std::move(span), writable};
}

}  // namespace gritstone
