// What the disk tier of the span cache knows about a span beside its bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/kv_span.h"
#include "index/span_key.h"
#include "index/vector_index.h"

namespace gritstone {

// A span to keep. `ids` are compared on every hit.
struct SpanPut {
  SpanKey key{};
  // The span it was computed behind, if that is kept too: without it nobody can reach this one, so it goes with it.
  std::optional<SpanKey> left;
  std::vector<std::int32_t> ids;
  std::shared_ptr<const KvSpan> span;
  // The chunk whose text it holds: when the collection's last chunk with this text goes, it goes. Absent: no document's text (the head of
  // prompts); it goes with the collection.
  std::optional<ChunkId> chunk;
  double cost_seconds = 0;  // of computing it again
  bool on_disk = true;      // false: keep it in RAM only
};

struct SpanTierStats {
  std::size_t spans = 0;
  std::uint64_t bytes = 0;
  std::uint64_t tokens = 0;
};

}  // namespace gritstone
