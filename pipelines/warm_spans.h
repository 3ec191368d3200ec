// Passages' own spans computed ahead of the first question.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "index/store.h"
#include "pipelines/model_parts.h"
#include "pipelines/span_naming.h"

namespace gritstone {

struct WarmOptions {
  KvType type = KvType::kInt8;
  std::uint64_t disk_bytes = std::uint64_t{8} << 30;  // as SpanCacheOptions
  std::function<void(std::size_t done, std::size_t total)> on_progress;
  std::stop_token stop;
};

struct WarmResult {
  std::size_t chunks = 0;    // of the collection
  std::size_t computed = 0;  // spans written
  std::size_t known = 0;     // that were there
  std::size_t left_out = 0;  // the budget was full
};

// Spans for the chunks of the collection that have none, until the disk budget is full: nothing is evicted for them. Committed batch by
// batch, so that an interrupted run goes on where it was. Takes the write lock. Throws Error: kNotFound, kLocked, kCancelled, kStorage, and
// what the engine throws.
WarmResult warm_spans(Store& store, std::string_view collection, const ModelParts& model, const WarmOptions& options);

}  // namespace gritstone
