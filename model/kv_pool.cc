#include "model/kv_pool.h"

#include "base/error.h"

namespace gritstone {

KvPool::KvPool(const ModelConfig& config, KvType type, std::size_t slots)
    : type_(type),
      kv_heads_(config.kv_heads),
      head_row_bytes_(kv_row_bytes(type, config.head_dim)),
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

}  // namespace gritstone
