// Retrieval quality: the queries of a task under every way of searching asked for, one row each.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "index/store.h"
#include "pipelines/embedder_setup.h"
#include "pipelines/eval_corpus.h"
#include "pipelines/model_parts.h"
#include "pipelines/retrieval_data.h"
#include "pipelines/retrieval_task.h"
#include "retriever/search.h"

namespace gritstone {

// One row: how which collection is searched.
struct RetrievalConfig {
  std::string name;  // "bm25", "fused", "dense/mean", "fused+rerank20"
  std::string collection;
  SearchMode mode = SearchMode::kFused;
  std::size_t rerank = 0;          // as SearchOptions
  std::optional<Pooling> pooling;  // the collection is to have; absent: what suits the model, or what the collection has
};

// All combinations, poolings varying slowest; BM25 alone knows no pooling and stands there once. With several poolings each has a
// collection of its own, COLLECTION-POOLING.
// Throws Error(kInvalidArgument) for an unknown word.
std::vector<RetrievalConfig> retrieval_grid(const std::string& collection, const std::vector<std::string>& poolings,
                                            const std::vector<std::string>& modes, const std::vector<std::size_t>& reranks);

struct EvalRetrievalOptions {
  std::vector<RetrievalConfig> configs;
  std::vector<Metric> metrics;  // empty: the task's own
  std::size_t k = 100;          // documents (or passages) per query
  FusionKind fusion = FusionKind::kConvex;
  std::optional<double> dense_weight;  // absent: the collection's
  double rerank_weight = kRerankWeight;
  EvalCorpusOptions corpus;  // of a data set with a corpus; `collection`, `vectors` and the pooling come from the configs
  std::optional<std::filesystem::path> run_out;  // a TREC run; with several configs one each, the name in front of the extension
  std::function<void(std::string_view stage, std::size_t done, std::size_t total)> on_progress;
  std::stop_token stop;
};

struct RetrievalRow {
  std::string config;
  RunScore score;
  std::size_t documents = 0;
  std::size_t chunks = 0;
  std::size_t queries = 0;
  double index_seconds = 0;  // text; of the config that came first to its collection
  double embed_seconds = 0;
  double search_seconds = 0;  // all queries, one after the other
};

// Brings the configs' collections up to date with the corpus of `data` (null: they are there already), runs every query of the task and
// scores what was found.
//   model  null: only SearchMode::kBm25 without reranking
// Throws Error: kInvalidArgument (no config, a metric that says nothing about the task, no model where one is needed), kCancelled; as
// index_corpus() and search().
std::vector<RetrievalRow> eval_retrieval(Store& store, const ModelParts* model, const RetrievalTask& task, const RetrievalData* data,
                                         const EvalRetrievalOptions& options);

// Scores a run made elsewhere against the same judgements. Throws Error as read_trec_run(); kInvalidArgument where answers decide.
RetrievalRow eval_run(const RetrievalTask& task, const std::filesystem::path& run, const std::vector<Metric>& metrics);

// How a task's queries are searched: ranked by unit, nothing collapsed. For the sweep of weights too.
SearchOptions task_search_options(const RetrievalTask& task, std::size_t k);

}  // namespace gritstone
