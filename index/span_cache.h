// KV spans in two tiers: RAM over files. What the engine computed for one question or for indexing is found again here by key.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "index/span_costs.h"
#include "index/span_store.h"
#include "index/store.h"

namespace gritstone {

struct SpanCacheOptions {
  std::uint64_t ram_bytes = std::uint64_t{1} << 30;
  std::uint64_t disk_bytes = std::uint64_t{8} << 30;  // over all collections of the store; 0: nothing is written
  std::filesystem::path costs_file;                   // as SpanCosts
  bool read_disk = true;                              // false: files are not looked at
};

enum class SpanTier : std::uint8_t { kRam, kDisk };

struct SpanHit {
  std::shared_ptr<const KvSpan> span;
  SpanTier tier = SpanTier::kRam;
  double load_ms = 0;  // mapping and verifying the file
};

// Where find() would take a span from.
struct SpanPlace {
  SpanTier tier = SpanTier::kRam;
  std::uint64_t bytes = 0;  // of the span; of its file for kDisk
};

struct SpanCacheStats {
  std::uint64_t ram_hits = 0, disk_hits = 0, misses = 0;
  std::uint64_t passed_over = 0;  // misses, although there was a span: computing it was expected to be faster than loading it
  std::uint64_t ram_bytes = 0;
  std::size_t ram_spans = 0;
  std::size_t pending = 0;  // spans that flush() has to write
};

// Thread-safe. A span that was handed out stays valid however the cache changes.
class SpanCache {
 public:
  // Borrows the store, which must outlive the cache.
  SpanCache(Store& store, const SpanCacheOptions& options) : store_(store), options_(options), costs_(options.costs_file) {}

  // The span of `key` if its token ids are `ids` and loading it pays (costs()). Damage is a miss. A file is opened once; then its pages
  // belong to the RAM tier.
  std::optional<SpanHit> find(const SpanKey& key, std::span<const std::int32_t> ids);

  // What find() would do now, without reading a file or counting a use; absent: a miss. A file may still turn out to be damaged.
  std::optional<SpanPlace> where(const SpanKey& key, std::span<const std::int32_t> ids) const;

  // Keeps a span in RAM and, where it wants that, for the disk tier, which flush() writes.
  void put(SpanPut put, const std::string& collection);

  // Writes what is pending and records the uses since the last call. Keeps it for the next call if another process is writing to the store
  // (false). Throws Error(kStorage) on a full disk; what was pending is then dropped.
  bool flush();

  SpanCacheStats stats() const;

  std::string store_id() const { return store_.id(); }

  // What find() decides by. Disk is measured here; whoever computes or loads spans tells the rest.
  SpanCosts& costs() noexcept { return costs_; }

 private:
  struct Entry {
    std::shared_ptr<const KvSpan> span;
    std::vector<std::int32_t> ids;
    std::uint64_t bytes = 0;
    std::uint64_t frequency = 0;
    double cost_seconds = 0;
    double priority = 0;
  };
  // All with mutex_ held.
  std::nullopt_t miss(bool passed_over);
  void keep_in_ram(const SpanKey& key, Entry entry);
  void count_use(const SpanKey& key);

  Store& store_;
  const SpanCacheOptions options_;
  SpanCosts costs_;
  mutable std::mutex mutex_;
  std::map<SpanKey, Entry> ram_;
  std::uint64_t ram_bytes_ = 0;
  double clock_ = 0;
  std::map<std::string, std::vector<SpanPut>> pending_;  // by collection
  std::uint64_t pending_bytes_ = 0;
  std::vector<SpanKey> used_;
  SpanCacheStats stats_;
};

}  // namespace gritstone
