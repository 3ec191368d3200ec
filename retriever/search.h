// A query against one snapshot of a collection.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "index/store.h"
#include "retriever/device_vectors.h"
#include "retriever/embedder.h"
#include "retriever/fusion.h"
#include "retriever/reranker.h"

namespace gritstone {

enum class SearchMode { kFused, kDense, kBm25 };
SearchMode parse_search_mode(std::string_view name);  // fused, dense, bm25; throws Error(kInvalidArgument)
std::string_view search_mode_name(SearchMode mode) noexcept;

struct SearchOptions {
  SearchMode mode = SearchMode::kFused;
  std::size_t k = 10;
  Filter filter;
  FusionKind fusion = FusionKind::kConvex;
  double dense_weight = kDenseWeightUntuned;
  std::size_t max_per_document = 3;  // 0: no limit
  bool collapse_duplicates = true;
  // The best so many passages are ordered again by `reranker` (required then), mixed with the score they came with; 0: as found.
  std::size_t rerank = 0;
  double rerank_weight = kRerankWeight;
  const Reranker* reranker = nullptr;
  // Fused search without stored vectors embeds so many of BM25's best (each costs a forward pass of up to 256 tokens).
  std::size_t embed_on_demand = 12;
  // What the passes on demand computed is not thrown away: each chunk's row, and its KV span of type `keep_spans` with its tokens (absent:
  // null and none). whole_spans: as EmbedRequest.
  std::optional<KvType> keep_spans;
  bool whole_spans = false;
  std::function<void(const ChunkRecord&, std::span<const float> row, std::shared_ptr<const KvSpan> span, std::span<const std::int32_t> ids)>
      on_embedded;
  // Likewise the pass of the query: its whole span.
  std::optional<KvType> keep_query_span;
  std::function<void(std::shared_ptr<const KvSpan> span, std::span<const std::int32_t> ids)> on_query_embedded;
  VectorPlacement* placement = nullptr;  // where the vectors are searched; null: on the processor
  std::string instruction;               // of the query; empty: the embedder's own
  std::stop_token cancel;
};

struct SearchHit {
  std::size_t rank = 0;  // 1-based
  double score = 0;      // of the mode: fused 0..1, cosine, or BM25; after reranking interpolate()'s
  std::optional<float> bm25;
  std::optional<float> dense;  // cosine
  std::size_t bm25_rank = 0;   // among all candidates, before the limits per document; 0: not ranked
  std::size_t dense_rank = 0;
  std::optional<double> likelihood;  // the reranker's score
  ChunkRecord chunk;
};

struct SearchTimings {
  double embed_ms = 0;  // the query, and candidates on demand
  double bm25_ms = 0;
  double vector_ms = 0;
  double fuse_ms = 0;  // fusion, reading the chunks, limits
  double rerank_ms = 0;
  double total_ms = 0;
};

struct SearchResult {
  std::vector<SearchHit> hits;
  SearchTimings timings;
  std::size_t candidates = 0;
  std::size_t embedded_on_demand = 0;
  std::size_t collapsed = 0;       // near duplicates left out
  std::size_t damaged_chunks = 0;  // left out because their row hash differs: `collection verify` tells more
  // Some chunks have no vector yet, so dense ranks are of a part only.
  bool vectors_incomplete = false;
};

// embedder may be null: then fused search is BM25 alone. `embedder` must be the one of the collection's manifest.
// Thread-safe as `snapshot` is. Throws Error: kInvalidArgument (k 0, dense without embedder or without any vector, rerank without
// reranker); kCancelled; what the snapshot, the embedder and the reranker throw.
SearchResult search(const Snapshot& snapshot, const Embedder* embedder, std::string_view query, const SearchOptions& options);

// One query under several dense weights: its candidates are found once. Borrows everything but the options. Not thread-safe.
class WeightSweep {
 public:
  WeightSweep(const Snapshot& snapshot, const Embedder* embedder, std::string_view query, const SearchOptions& options);
  ~WeightSweep();
  // What search() gives with this weight in the options; throws as it does.
  SearchResult at(double dense_weight);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gritstone
