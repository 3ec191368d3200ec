// Which token slots of the KV memory belong to which job. The memory itself is the backend's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/error.h"
#include "model/kernels/vector_kernels.h"

namespace gritstone {

// One job's slots. Slot i lies in pages[i / kKvBlock].
struct KvSequence {
  std::vector<std::uint32_t> pages;
  std::vector<std::int32_t> positions;  // by slot; as many as the pages hold
  std::vector<std::int32_t> groups;     // by slot
  bool grouped = false;                 // some slot has a group other than 0 or kSeesAll
  std::size_t slots = 0;                // in use
};

// Pages handed to sequences and taken back. Not thread-safe: the engine's thread owns it.
class KvPages {
 public:
  explicit KvPages(std::size_t pages) : total_(pages) {
    // Low pages last, so that they are handed out first and memory use grows with need.
    for (std::size_t i = pages; i-- > 0;) free_.push_back(static_cast<std::uint32_t>(i));
  }

  std::size_t total() const noexcept { return total_; }
  std::size_t free() const noexcept { return free_.size(); }

  // REQUIRES: count <= free().
  std::vector<std::uint32_t> allocate(std::size_t count) {
    GS_CHECK(count <= free_.size());
    std::vector<std::uint32_t> pages(free_.rbegin(), free_.rbegin() + static_cast<std::ptrdiff_t>(count));
    free_.resize(free_.size() - count);
    return pages;
  }
  void release(std::vector<std::uint32_t>& pages) {
    free_.insert(free_.end(), pages.rbegin(), pages.rend());
    pages.clear();
  }

 private:
  std::size_t total_;
  std::vector<std::uint32_t> free_;
};

}  // namespace gritstone
