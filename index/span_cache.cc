#include "index/span_cache.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/error.h"
#include "index/gdsf.h"
#include "index/span_file.h"

namespace gritstone {

std::optional<SpanHit> SpanCache::find(const SpanKey& key, std::span<const std::int32_t> ids) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = ram_.find(key);
    if (found != ram_.end() && std::ranges::equal(found->second.ids, ids)) {
      if (!costs_.ram_pays(ids.size(), found->second.bytes)) return miss(true);
      Entry& entry = found->second;
      entry.priority = gdsf_priority(clock_, ++entry.frequency, entry.cost_seconds, entry.bytes);
      ++stats_.ram_hits;
      count_use(key);
      return SpanHit{entry.span, SpanTier::kRam, 0.0};
    }
  }
  if (!options_.read_disk) {
    const std::lock_guard lock(mutex_);
    return miss(false);
  }
  const std::filesystem::path path = span_file_path(store_.path(), key);
  std::error_code absent;
  const std::uint64_t size = std::filesystem::file_size(path, absent);
  if (!absent && !costs_.disk_pays(ids.size(), size)) {
    const std::lock_guard lock(mutex_);
    return miss(true);
  }
  const auto start = std::chrono::steady_clock::now();
  auto span = open_span_file(path, key, ids);
  const double milliseconds = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  if (span != nullptr) costs_.saw_disk(span->bytes.size(), milliseconds / 1e3);
  const std::lock_guard lock(mutex_);
  if (span == nullptr) return miss(false);
  ++stats_.disk_hits;
  count_use(key);
  Entry entry;
  entry.span = span;
  entry.ids.assign(ids.begin(), ids.end());
  entry.bytes = span->bytes.size();
  entry.frequency = 1;
  // Not what it costs to compute: losing it from RAM costs reading the file again.
  entry.cost_seconds = milliseconds / 1e3;
  keep_in_ram(key, std::move(entry));
  return SpanHit{std::move(span), SpanTier::kDisk, milliseconds};
}

std::optional<SpanPlace> SpanCache::where(const SpanKey& key, std::span<const std::int32_t> ids) const {
  {
    const std::lock_guard lock(mutex_);
    const auto found = ram_.find(key);
    if (found != ram_.end() && std::ranges::equal(found->second.ids, ids)) {
      if (!costs_.ram_pays(ids.size(), found->second.bytes)) return std::nullopt;
      return SpanPlace{SpanTier::kRam, found->second.bytes};
    }
  }
  if (!options_.read_disk) return std::nullopt;
  std::error_code absent;
  const std::uint64_t size = std::filesystem::file_size(span_file_path(store_.path(), key), absent);
  if (absent || !costs_.disk_pays(ids.size(), size)) return std::nullopt;
  return SpanPlace{SpanTier::kDisk, size};
}

std::nullopt_t SpanCache::miss(bool passed_over) {
  ++stats_.misses;
  if (passed_over) ++stats_.passed_over;
  return std::nullopt;
}

void SpanCache::put(SpanPut put, const std::string& collection) {
  Entry entry;
  entry.span = put.span;
  entry.ids = put.ids;
  entry.bytes = put.span->bytes.size();
  entry.frequency = 1;
  entry.cost_seconds = put.cost_seconds;
  const SpanKey key = put.key;
  const std::lock_guard lock(mutex_);
  // What waits for the disk is memory too: beyond the RAM tier's size it is not worth holding back.
  if (put.on_disk && options_.disk_bytes > 0 && pending_bytes_ + entry.bytes <= std::max(options_.ram_bytes, std::uint64_t{256} << 20)) {
    pending_bytes_ += entry.bytes;
    pending_[collection].push_back(std::move(put));
  }
  keep_in_ram(key, std::move(entry));
}

// Uses only order what is dropped from disk, so a process that never flushes need not remember them all.
void SpanCache::count_use(const SpanKey& key) {
  constexpr std::size_t kMostUses = 1 << 16;
  if (options_.disk_bytes > 0 && used_.size() < kMostUses) used_.push_back(key);
}

void SpanCache::keep_in_ram(const SpanKey& key, Entry entry) {
  if (entry.bytes > options_.ram_bytes) return;
  if (const auto old = ram_.find(key); old != ram_.end()) {
    ram_bytes_ -= old->second.bytes;
    ram_.erase(old);
  }
  while (ram_bytes_ + entry.bytes > options_.ram_bytes) {
    const auto least =
        std::min_element(ram_.begin(), ram_.end(), [](const auto& a, const auto& b) { return a.second.priority < b.second.priority; });
    clock_ = least->second.priority;
    ram_bytes_ -= least->second.bytes;
    ram_.erase(least);
  }
  entry.priority = gdsf_priority(clock_, entry.frequency, entry.cost_seconds, entry.bytes);
  ram_bytes_ += entry.bytes;
  ram_.emplace(key, std::move(entry));
}

bool SpanCache::flush() {
  std::map<std::string, std::vector<SpanPut>> pending;
  std::vector<SpanKey> used;
  {
    const std::lock_guard lock(mutex_);
    if (pending_.empty() && used_.empty()) return true;
    pending.swap(pending_);
    used.swap(used_);
    pending_bytes_ = 0;
  }
  try {
    const auto job = store_.begin_write();
    for (const auto& [collection, puts] : pending) {
      try {
        job->put_spans(collection, puts, options_.disk_bytes);
      } catch (const Error& error) {
        if (error.code() != ErrorCode::kNotFound) throw;  // the collection was removed meanwhile
      }
    }
    job->touch_spans(used);
    return true;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kLocked) throw;
    const std::lock_guard lock(mutex_);
    for (auto& [collection, puts] : pending) {
      for (SpanPut& put : puts) {
        pending_bytes_ += put.span->bytes.size();
        pending_[collection].push_back(std::move(put));
      }
    }
    used_.insert(used_.end(), used.begin(), used.end());
    return false;
  }
}

SpanCacheStats SpanCache::stats() const {
  const std::lock_guard lock(mutex_);
  SpanCacheStats stats = stats_;
  stats.ram_bytes = ram_bytes_;
  stats.ram_spans = ram_.size();
  for (const auto& [collection, puts] : pending_) stats.pending += puts.size();
  return stats;
}

}  // namespace gritstone
