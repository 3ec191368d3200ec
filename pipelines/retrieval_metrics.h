// Quality of a ranking against relevance judgements, by trec_eval's conventions (docs/evaluation.md has the formulas).
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gritstone {

// query -> document -> relevance. Above 0: relevant, and the gain of nDCG; 0 and below: judged not relevant.
using Judgements = std::map<std::string, std::map<std::string, int>>;

struct RunEntry {
  std::string document;
  double score = 0;
};
// query -> documents found.
using TrecRun = std::map<std::string, std::vector<RunEntry>>;

enum class MetricKind { kNdcg, kRecall, kPrecision, kSuccess, kReciprocalRank, kAveragePrecision };

struct Metric {
  MetricKind kind = MetricKind::kNdcg;
  std::size_t cutoff = 0;  // ranks looked at; 0: all that were found

  std::string name() const;   // "ndcg@10", "map": names of JSON members
  std::string title() const;  // "nDCG@10", "MAP": for people
  // Looks at the first relevant one alone (success, rr): means something even where not all relevant ones are known.
  bool first_hit_only() const noexcept { return kind == MetricKind::kSuccess || kind == MetricKind::kReciprocalRank; }
  bool operator==(const Metric&) const = default;
};

// "ndcg@10", "recall@100", "p@5", "success@5", "rr", "rr@10", "map", "map@100"; p and success need a cutoff.
// Throws Error(kInvalidArgument) naming the choices.
Metric parse_metric(std::string_view text);
// ndcg@10, recall@100, map, rr, p@5, rr@10, success@5.
std::vector<Metric> default_metrics();

// By score, ties by document id descending; scores are compared as float, which is what trec_eval reads them as.
void sort_ranking(std::vector<RunEntry>& ranking);

// The value of one metric for one query.
//   ranking  relevance of the documents found, best first (unjudged: 0)
//   judged   relevance of all judged documents, in any order
// 0 if nothing is relevant.
double metric_value(const Metric& metric, std::span<const int> ranking, std::span<const int> judged);

struct RunScore {
  std::vector<Metric> metrics;
  std::vector<double> mean;  // one per metric, over per_query
  std::map<std::string, std::vector<double>> per_query;

  // Appends a query's values and, after the last one, sets the means.
  void add(const std::string& query, std::span<const int> ranking, std::span<const int> judged);
  void finish();
  // Index of the metric. Throws Error(kInvalidArgument) if it is not among `metrics`.
  std::size_t index_of(const Metric& metric) const;
  double mean_of(const Metric& metric) const { return mean[index_of(metric)]; }
};

// Over all queries that have a relevant document; one that the run lacks counts 0. Whatever order or ranks the run has, sort_ranking()
// decides.
RunScore score_run(const Judgements& judgements, const TrecRun& run, const std::vector<Metric>& metrics);

}  // namespace gritstone
