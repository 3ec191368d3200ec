// Files into a collection: walk, read, chunk, text index, vectors. Run again, it does only what changed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "base/token_counter.h"
#include "index/chunker.h"
#include "index/file_walker.h"
#include "index/store.h"
#include "pipelines/embedder_setup.h"
#include "pipelines/model_parts.h"

namespace gritstone {

enum class IngestStage { kWalk, kRead, kEmbed, kPublish };
std::string_view ingest_stage_name(IngestStage stage) noexcept;  // "walk", "read", "embed", "publish"

struct IngestProgress {
  IngestStage stage = IngestStage::kWalk;
  std::size_t done = 0;    // kRead: files; kEmbed: chunks
  std::size_t total = 0;   // 0: unknown
  std::size_t tokens = 0;  // kEmbed: so far
};

// Rough figures, before the work starts. Vectors are counted only where they follow in the same run.
struct IngestEstimate {
  std::size_t files = 0;
  std::size_t changed_files = 0;  // new, or of another size or time than the store knows
  std::uint64_t changed_bytes = 0;
  std::size_t tokens = 0;  // to embed
  bool by_url = false;     // a service embeds them, for how long is not known before
  double seconds = 0;
  std::uint64_t disk_bytes = 0;  // that the store will grow by
};

struct IngestOptions {
  std::vector<std::string> paths;
  std::string collection;
  std::string language = "english";  // of a new collection
  ChunkerOptions chunker;
  WalkLimits limits;
  bool dense_now = true;  // false: text and BM25 only, vectors later
  EmbedOverrides embed;
  // Passages' spans are kept from the embedding pass (kv eager); absent: with their first use.
  struct EagerSpans {
    KvType type = KvType::kInt8;
    std::uint64_t disk_bytes = 0;
  };
  std::optional<EagerSpans> eager_spans;
  std::map<std::string, std::string> attributes;  // of every document found, for filters
  std::function<void(const IngestProgress&)> on_progress;
  std::function<void(const IngestEstimate&)> on_estimate;
  std::stop_token stop;
};

struct IngestSeconds {
  double walk = 0, read = 0, chunk = 0, store = 0, embed = 0, publish = 0, total = 0;
};

struct IngestResult {
  std::size_t added = 0;  // "new" in JSON
  std::size_t updated = 0;
  std::size_t unchanged = 0;
  std::size_t removed = 0;
  std::vector<SkippedFile> skipped;  // sorted by path
  std::size_t chunks = 0;            // of added and updated documents
  std::size_t embedded = 0;          // vectors computed in this run
  std::size_t embedded_tokens = 0;
  std::size_t spans = 0;  // kept in this run
  std::size_t reused_embeddings = 0;
  std::size_t truncated = 0;  // chunks that the embedder's token limit cut
  std::size_t pending = 0;    // chunks still without vector
  IngestSeconds seconds;
  CollectionInfo collection;   // as committed
  bool tuned_embedder = true;  // false: say once that the model is not tuned for embedding
};

// Creates the collection if it does not exist. A file whose SHA-256 the store knows is unchanged. Documents under the given paths whose
// file is gone, or can no longer be read, are removed; documents elsewhere are untouched. Text and BM25 are committed before the first
// vector, in batches, so that a killed run loses at most the last batch and the next one goes on there. The result does not depend on how
// many runs it took. Holds the store's write lock throughout.
//   counter  measures chunks; the model's tokenizer where there is a model
//   model    null, or without a model and the collection not embedded by URL: no vectors, whatever dense_now says
// Throws Error: kLocked; kCancelled (what was committed stays); kInvalidArgument (no path, bad name, another embedder); kStorage; what the
// engine throws; kUnavailable, if the vectors come from a service that does not answer (text and BM25 are committed, the next run goes on).
IngestResult ingest(Store& store, const TokenCounter& counter, const ModelParts* model, const IngestOptions& options);

// Forgets the collection's vectors and embeds it anew with this model, or with the overrides' embedder by URL. Progress: stages kEmbed and
// kPublish. Throws Error(kNotFound) and as ingest().
IngestResult reembed(Store& store, const ModelParts& model, const IngestOptions& options);

}  // namespace gritstone
