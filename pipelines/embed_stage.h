// Vectors for the chunks that have none: resumable, and with the collection's statistics frozen before the first is stored.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>

#include "index/store.h"
#include "pipelines/embed_target.h"
#include "pipelines/embedder_setup.h"
#include "pipelines/span_naming.h"

namespace gritstone {

struct EmbedStageResult {
  std::size_t chunks = 0;
  std::size_t tokens = 0;
  std::size_t spans = 0;           // kept on the way
  std::size_t truncated = 0;       // chunks of which the embedder's token limit cut a part
  bool statistics_frozen = false;  // in this run
};

// With a causal embedder that pools a document's own tokens, the embedding pass is also the pass that makes the passage's span.
struct SpanKeeping {
  const SpanNaming* naming = nullptr;
  std::uint64_t disk_bytes = 0;  // as SpanCacheOptions; once that is full, no more are kept
};

struct EmbedStageOptions {
  std::optional<SpanKeeping> spans;  // absent: vectors only
  std::size_t batch = 64;            // chunks a pass of the model; fewer where spans are kept
  std::function<void(std::size_t done, std::size_t total, std::size_t tokens)> on_progress;
  std::stop_token stop;
};

// Rows that statistics are computed from, spread evenly over the collection.
inline constexpr std::size_t kStatisticsSample = 1024;
// Statistics from fewer rows than this are taken anew, and the collection re-embedded, once it has grown to kRefreezeGrowth times their
// sample: a collection that begins with one page must not keep that page's mean.
inline constexpr std::size_t kStatisticsFirm = 256;
inline constexpr std::size_t kRefreezeGrowth = 4;

// Whether embeddings of this kind leave spans behind (SpanKeeping).
bool embedding_makes_spans(const EmbedOptions& options, const ModelConfig& config);
// Whether it is GRIT's own: bidirectional, mean over the last layer.
bool embedding_is_grits(const EmbedOptions& options, const ModelConfig& config);

// Embeds what is pending, committing every few seconds, so that a killed run goes on where it was. The manifest must already be checked
// (resolve_manifest); it is stored again if statistics are frozen. Ends with committed vectors; the caller publishes them.
//   collection  as committed, with its counters
// Throws Error: kCancelled (what was committed stays); what embedder and target throw.
EmbedStageResult embed_pending(EmbedTarget& target, const CollectionInfo& collection, const ModelParts& parts, EmbedderManifest& manifest,
                               const EmbedStageOptions& options);

}  // namespace gritstone
