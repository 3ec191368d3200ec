// Reranking by question likelihood over passages' own KV spans: a passage that was met before costs the question's tokens only.
#pragma once

#include <chrono>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "index/span_cache.h"
#include "pipelines/model_parts.h"
#include "pipelines/span_naming.h"
#include "retriever/reranker.h"

namespace gritstone {

// Scores by the mean log-probability of the query's tokens behind the passage (retriever/likelihood.h). The passage's states are its own
// span, the one that answering under `chunks` uses; what is missing is computed, rounded to the span type and kept in the cache, so that
// scores do not depend on what was cached. Borrows everything; thread-safe.
class SpanReranker : public Reranker {
 public:
  // cache  may be null: then every span is computed, and none kept
  // type   of spans at rest
  SpanReranker(const ModelParts& model, SpanCache* cache, const CollectionInfo& collection, KvType type = KvType::kInt8,
               std::optional<std::chrono::steady_clock::time_point> deadline = std::nullopt);

  // Passages that leave no room for the query are cut at their end. Throws Error: kInvalidArgument (no query, or one as long as the
  // context), kCancelled, kDeadline, and what the engine throws.
  std::vector<double> score(std::string_view query, std::span<const ChunkRecord* const> passages,
                            const std::stop_token& cancel) const override;

 private:
  struct Passage;
  void complete(std::span<Passage> batch, const std::stop_token& cancel) const;

  const Tokenizer& tokenizer_;
  Engine& engine_;
  SpanCache* cache_;
  std::string collection_;
  SpanNaming naming_;
  std::optional<std::chrono::steady_clock::time_point> deadline_;
};

}  // namespace gritstone
