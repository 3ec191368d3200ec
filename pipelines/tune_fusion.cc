#include "pipelines/tune_fusion.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <string>

#include "base/error.h"
#include "pipelines/eval_retrieval.h"

namespace gritstone {
namespace {

std::vector<double> weights_of(const TuneOptions& options) {
  std::vector<double> weights{options.weight_in_use};
  for (std::size_t i = 0; i <= options.steps; ++i) {
    const double weight = static_cast<double>(i) / static_cast<double>(options.steps);
    if (std::abs(weight - options.weight_in_use) > 1e-9) weights.push_back(weight);
  }
  std::ranges::sort(weights);
  return weights;
}

// Values of every query (in id order) under every weight.
std::vector<std::vector<double>> sweep(const Snapshot& snapshot, const Embedder& embedder, const RetrievalTask& task,
                                       const TuneOptions& options, const Metric& metric, const std::vector<double>& weights) {
  SearchOptions search_options = task_search_options(task, options.k);
  search_options.cancel = options.stop;
  std::vector<TaskRun> runs(weights.size());
  std::size_t done = 0;
  for (const auto& [id, text] : task.queries) {
    if (options.on_progress) options.on_progress(done++, task.queries.size());
    WeightSweep query(snapshot, &embedder, text, search_options);
    for (std::size_t w = 0; w < weights.size(); ++w) runs[w].add(task, id, query.at(weights[w]).hits, options.k);
  }
  std::vector<std::vector<double>> values;
  for (const TaskRun& run : runs) {
    std::vector<double>& row = values.emplace_back();
    for (const auto& [id, of_query] : score_task(task, run, {metric}).per_query) row.push_back(of_query[0]);
  }
  return values;
}

// The weight that is best over the queries that `uses` admits; among equals the nearest to the one in use.
template <typename Uses>
std::size_t best_of(const std::vector<std::vector<double>>& values, const std::vector<double>& weights, double in_use, Uses uses) {
  std::size_t best = 0;
  double best_sum = -1;
  for (std::size_t w = 0; w < weights.size(); ++w) {
    double sum = 0;
    for (std::size_t q = 0; q < values[w].size(); ++q) sum += uses(q) ? values[w][q] : 0;
    // Sums of the same values in the same order: equal means equal.
    const bool nearer = sum == best_sum && std::abs(weights[w] - in_use) < std::abs(weights[best] - in_use);
    if (sum > best_sum || nearer) {
      best = w;
      best_sum = sum;
    }
  }
  return best;
}

PairedComparison compare(const std::vector<double>& a, const std::vector<double>& b, const std::string& metric, std::uint64_t seed) {
  QuestionFigures of_a, of_b;
  for (std::size_t q = 0; q < a.size(); ++q) {
    of_a[metric][std::to_string(q)] = a[q];
    of_b[metric][std::to_string(q)] = b[q];
  }
  CompareOptions options;
  options.seed = seed;
  return compare_paired(of_a, of_b, options).front();
}

}  // namespace

TuneResult tune_fusion(const Snapshot& snapshot, const Embedder& embedder, const RetrievalTask& task, const TuneOptions& options) {
  const std::size_t n = task.queries.size();
  if (options.folds < 2 || n < 2 * options.folds) {
    throw Error(ErrorCode::kInvalidArgument, std::to_string(n) + " questions are too few to choose a weight in " +
                                                 std::to_string(options.folds) + " folds, expected at least " +
                                                 std::to_string(2 * options.folds));
  }
  if (snapshot.info().embedded_chunks == 0) {
    throw Error(ErrorCode::kInvalidArgument, "collection \"" + snapshot.info().name + "\" has no vectors to weigh");
  }
  TuneResult result;
  result.queries = n;
  result.weight_in_use = options.weight_in_use;
  result.metric = options.metric.value_or(task.by_answers() ? Metric{MetricKind::kReciprocalRank, 0} : Metric{MetricKind::kNdcg, 10});
  task.check_metrics({result.metric});
  const std::vector<double> weights = weights_of(options);
  const std::vector<std::vector<double>> values = sweep(snapshot, embedder, task, options, result.metric, weights);
  GS_CHECK(values.front().size() == n);
  const auto index_of = [&](double weight) {
    return static_cast<std::size_t>(std::ranges::min_element(weights, {}, [&](double w) { return std::abs(w - weight); }) -
                                    weights.begin());
  };
  for (std::size_t w = 0; w < weights.size(); ++w) {
    result.curve.push_back({weights[w], std::accumulate(values[w].begin(), values[w].end(), 0.0) / static_cast<double>(n)});
  }
  result.best_weight = weights[best_of(values, weights, options.weight_in_use, [](std::size_t) { return true; })];

  std::vector<std::size_t> fold(n);
  for (std::size_t q = 0; q < n; ++q) fold[q] = q % options.folds;
  std::mt19937_64 random(options.seed);
  for (std::size_t q = n; q > 1; --q) std::swap(fold[q - 1], fold[static_cast<std::size_t>(random() % q)]);
  std::vector<double> held_out(n);
  for (std::size_t f = 0; f < options.folds; ++f) {
    const std::size_t w = best_of(values, weights, options.weight_in_use, [&](std::size_t q) { return fold[q] != f; });
    result.fold_weights.push_back(weights[w]);
    for (std::size_t q = 0; q < n; ++q) {
      if (fold[q] == f) held_out[q] = values[w][q];
    }
  }
  result.cross_validated = std::accumulate(held_out.begin(), held_out.end(), 0.0) / static_cast<double>(n);
  result.over_in_use = compare(values[index_of(options.weight_in_use)], held_out, result.metric.name(), options.seed);
  result.over_bm25 = compare(values[index_of(0)], held_out, result.metric.name(), options.seed);
  result.recommended = result.over_in_use.lower > 0;
  return result;
}

}  // namespace gritstone
