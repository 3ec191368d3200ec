// The dense weight of convex fusion, measured on questions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <vector>

#include "index/store.h"
#include "pipelines/paired_comparison.h"
#include "pipelines/retrieval_task.h"
#include "retriever/embedder.h"

namespace gritstone {

struct TuneOptions {
  // Absent: nDCG@10, or rr where answers decide.
  std::optional<Metric> metric;
  double weight_in_use = 0;
  std::size_t k = 100;     // documents (or passages) per query
  std::size_t steps = 20;  // weights 0, 1 / steps, ..., 1, and the one in use
  std::size_t folds = 5;
  std::uint64_t seed = 1;                                                // of the folds and the bootstrap
  std::function<void(std::size_t done, std::size_t total)> on_progress;  // queries
  std::stop_token stop;
};

struct TunePoint {
  double weight = 0;
  double mean = 0;  // of the metric, over all queries
};

struct TuneResult {
  Metric metric;
  std::size_t queries = 0;
  std::vector<TunePoint> curve;  // by weight
  double weight_in_use = 0;
  double best_weight = 0;  // on all queries; among equals the nearest to the one in use
  // What choosing a weight this way is worth on questions that were not used for choosing: each fold is searched with the weight that is
  // best on the others.
  double cross_validated = 0;
  std::vector<double> fold_weights;
  PairedComparison over_in_use;  // cross-validated minus the weight in use, query by query
  PairedComparison over_bm25;    // minus weight 0
  bool recommended = false;      // the 95 % interval of over_in_use lies above 0
};

// Candidates are searched once per query and ranked under every weight, by the code that search() runs.
// Throws Error: kInvalidArgument (too few queries: two a fold at least; a metric that says nothing about the task; no vectors); kCancelled;
// as search().
TuneResult tune_fusion(const Snapshot& snapshot, const Embedder& embedder, const RetrievalTask& task, const TuneOptions& options);

}  // namespace gritstone
