// The engine's KV memory: fixed pages of kKvBlock token slots, handed to sequences and taken back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/kv_span.h"
#include "model/buffer.h"
#include "model/kernels/vector_kernels.h"
#include "model/model_config.h"

namespace gritstone {

// Not thread-safe: the engine's thread owns it. A page is [layers][2 (K, V)][kv_heads][kKvBlock][head row], so that attention reads one
// head's block as one run of memory. K is stored before RoPE: a page does not know its position.
class KvPool {
 public:
  // `slots` is rounded up to whole pages. Throws Error(kMemoryBudget).
  KvPool(const ModelConfig& config, KvType type, std::size_t slots);

  std::size_t pages() const noexcept { return pages_; }
  std::size_t free_pages() const noexcept { return free_.size(); }
  std::size_t page_bytes() const noexcept { return page_bytes_; }
  std::size_t head_row_bytes() const noexcept { return head_row_bytes_; }
  KvType type() const noexcept { return type_; }

  // REQUIRES: count <= free_pages().
  std::vector<std::uint32_t> allocate(std::size_t count);
  void release(std::vector<std::uint32_t>& pages);

  // First of the kKvBlock rows of a head; value false: K.
  std::uint8_t* block(std::uint32_t page, std::size_t layer, bool value, std::size_t head) const noexcept {
    return memory_.data() + page * page_bytes_ + ((layer * 2 + (value ? 1 : 0)) * kv_heads_ + head) * kKvBlock * head_row_bytes_;
  }

 private:
  KvType type_;
  std::size_t kv_heads_;
  std::size_t head_row_bytes_;
  std::size_t page_bytes_;
  std::size_t pages_;
  Buffer memory_;
  std::vector<std::uint32_t> free_;
};

// One job's slots. Slot i lies in pages[i / kKvBlock].
struct KvSequence {
  std::vector<std::uint32_t> pages;
  std::vector<std::int32_t> positions;  // by slot; as many as the pages hold
  std::vector<std::int32_t> groups;     // by slot
  bool grouped = false;                 // some slot has a group other than 0 or kSeesAll
  std::size_t slots = 0;                // in use
};

}  // namespace gritstone
