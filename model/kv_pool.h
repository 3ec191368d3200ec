// The CPU's KV memory: pages of kKvBlock token slots.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/kv_span.h"
#include "model/buffer.h"
#include "model/kv_pages.h"
#include "model/model_config.h"

namespace gritstone {

// A page is [layers][2 (K, V)][kv_heads][kKvBlock][head row], so that attention reads one head's block as one run of memory. K is stored
// before RoPE: a page does not know its position.
class KvPool {
 public:
  // Throws Error(kMemoryBudget).
  KvPool(const ModelConfig& config, KvType type, std::size_t pages)
      : type_(type),
        kv_heads_(config.kv_heads),
        head_row_bytes_(kv_row_bytes(type, config.head_dim)),
        page_bytes_(config.layers * 2 * config.kv_heads * kKvBlock * head_row_bytes_),
        memory_(pages * page_bytes_) {}

  std::size_t head_row_bytes() const noexcept { return head_row_bytes_; }
  KvType type() const noexcept { return type_; }

  // First of the kKvBlock rows of a head; value false: K.
  std::uint8_t* block(std::uint32_t page, std::size_t layer, bool value, std::size_t head) const noexcept {
    return memory_.data() + page * page_bytes_ + ((layer * 2 + (value ? 1 : 0)) * kv_heads_ + head) * kKvBlock * head_row_bytes_;
  }

 private:
  KvType type_;
  std::size_t kv_heads_;
  std::size_t head_row_bytes_;
  std::size_t page_bytes_;
  Buffer memory_;
};

}  // namespace gritstone
