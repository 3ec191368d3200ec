#include "model/kv_pool.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace gritstone {

KvFormat kv_format(KvType type) noexcept {
  switch (type) {
    case KvType::kF32:
      return KvFormat::kF32;
    case KvType::kBF16:
      return KvFormat::kBF16;
    case KvType::kInt8:
      return KvFormat::kInt8;
  }
  return KvFormat::kF32;
}

KvPool::KvPool(const ModelConfig& config, KvType type, std::size_t slots)
    : type_(type),
      kv_heads_(config.kv_heads),
      head_row_bytes_(kv_row_bytes(type, 1, config.head_dim)),
      page_bytes_(config.layers * 2 * config.kv_heads * kKvBlock * head_row_bytes_),
      pages_((slots + kKvBlock - 1) / kKvBlock),
      memory_(pages_ * page_bytes_) {
  // Low pages last, so that they are handed out first and memory use grows with need.
  for (std::size_t i = pages_; i-- > 0;) free_.push_back(static_cast<std::uint32_t>(i));
}

std::vector<std::uint32_t> KvPool::allocate(std::size_t count) {
  GS_CHECK(count <= free_.size());
  std::vector<std::uint32_t> pages(free_.rbegin(), free_.rbegin() + static_cast<std::ptrdiff_t>(count));
  free_.resize(free_.size() - count);
  return pages;
}

void KvPool::release(std::vector<std::uint32_t>& pages) {
  free_.insert(free_.end(), pages.rbegin(), pages.rend());
  pages.clear();
}

namespace {

// Calls copy(span row of the head, page row of the head) for every layer, K and V, token and head.
template <typename Copy>
void for_each_head_row(const KvPool& pool, const KvSequence& sequence, const ModelConfig& config, const KvSpan& span, std::size_t offset,
                       std::size_t length, std::size_t slot, Copy&& copy) {
  const std::size_t head_row = pool.head_row_bytes();
  for (std::size_t layer = 0; layer < config.layers; ++layer) {
    for (const bool value : {false, true}) {
      for (std::size_t i = 0; i < length; ++i) {
        const std::size_t at = slot + i;
        const std::uint8_t* row = span.row(layer, value, offset + i);
        for (std::size_t head = 0; head < config.kv_heads; ++head) {
          copy(row + head * head_row, pool.block(sequence.pages[at / kKvBlock], layer, value, head) + at % kKvBlock * head_row, head_row);
        }
      }
    }
  }
}

}  // namespace

void load_span(const KvPool& pool, const KvSequence& sequence, const ModelConfig& config, const KvSpan& span, std::size_t offset,
               std::size_t length, std::size_t slot) {
  for_each_head_row(
      pool, sequence, config, span, offset, length, slot,
      [](const std::uint8_t* span_row, std::uint8_t* page_row, std::size_t bytes) { std::memcpy(page_row, span_row, bytes); });
}

void save_span(const KvPool& pool, const KvSequence& sequence, const ModelConfig& config, KvSpan& span, std::size_t offset,
               std::size_t length, std::size_t slot) {
  std::uint8_t* base = span.bytes.data();
  for_each_head_row(pool, sequence, config, span, offset, length, slot,
                    [&](const std::uint8_t* span_row, std::uint8_t* page_row, std::size_t bytes) {
                      std::memcpy(base + (span_row - base), page_row, bytes);
                    });
}

}  // namespace gritstone
