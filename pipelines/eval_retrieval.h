// Retrieval quality on a BEIR data set: corpus.jsonl, queries.jsonl, qrels/*.tsv.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>

#include "index/store.h"
#include "pipelines/embedder_setup.h"
#include "pipelines/ingest.h"
#include "pipelines/model_parts.h"
#include "pipelines/retrieval_metrics.h"
#include "retriever/search.h"

namespace gritstone {

struct EvalRetrievalOptions {
  std::filesystem::path data;
  std::string split;  // qrels/<split>.tsv; empty: test, or the only one there is
  SearchMode mode = SearchMode::kFused;
  std::size_t k = 100;  // documents per query
  FusionKind fusion = FusionKind::kConvex;
  std::optional<double> dense_weight;  // absent: the collection's
  ChunkerOptions chunker;
  std::string language = "english";
  EmbedOverrides embed;
  std::string collection = "eval";  // in the store given; kept, so that a second run only searches
  std::optional<std::filesystem::path> run_out;
  std::function<void(std::string_view stage, std::size_t done, std::size_t total)> on_progress;
  std::stop_token stop;
};

struct EvalRetrievalResult {
  RunScore score;
  std::size_t documents = 0;
  std::size_t chunks = 0;
  std::size_t queries = 0;
  double index_seconds = 0;  // text
  double embed_seconds = 0;
  double search_seconds = 0;  // all queries, one after the other
};

// Indexes the corpus into `store` (documents whose text the store knows are left alone), runs every judged query and scores the documents
// by their best chunk. A document whose id equals the query's is left out, as BEIR does.
//   model  null: only SearchMode::kBm25
// Throws Error: kNotFound, kInvalidArgument naming file and line; kCancelled; as ingest() and search().
EvalRetrievalResult eval_retrieval(Store& store, const ModelParts* model, const EvalRetrievalOptions& options);

// Scores a run made elsewhere against the same judgements.
EvalRetrievalResult eval_run(const EvalRetrievalOptions& options, const std::filesystem::path& run);

}  // namespace gritstone
