#include "pipelines/retrieval_metrics.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>
#include <iterator>

#include "base/error.h"

namespace gritstone {
namespace {

struct KindName {
  MetricKind kind;
  std::string_view name, title;
  bool needs_cutoff;
};
constexpr KindName kKinds[] = {
    {MetricKind::kNdcg, "ndcg", "nDCG", false},       {MetricKind::kRecall, "recall", "Recall", false},
    {MetricKind::kPrecision, "p", "P", true},         {MetricKind::kSuccess, "success", "Success", true},
    {MetricKind::kReciprocalRank, "rr", "RR", false}, {MetricKind::kAveragePrecision, "map", "MAP", false},
};

const KindName& names_of(MetricKind kind) {
  return *std::ranges::find_if(kKinds, [&](const KindName& k) { return k.kind == kind; });
}

std::string with_cutoff(std::string_view name, std::size_t cutoff) {
  return cutoff == 0 ? std::string(name) : std::string(name) + "@" + std::to_string(cutoff);
}

double discount(std::size_t rank) { return 1 / std::log2(static_cast<double>(rank) + 1); }

double ndcg(std::span<const int> ranking, std::span<const int> judged, std::size_t depth) {
  std::vector<int> ideal;
  std::ranges::copy_if(judged, std::back_inserter(ideal), [](int relevance) { return relevance > 0; });
  std::ranges::sort(ideal, std::greater<>());
  double gain = 0, best = 0;
  for (std::size_t i = 0; i < ranking.size() && i < depth; ++i) {
    if (ranking[i] > 0) gain += ranking[i] * discount(i + 1);
  }
  for (std::size_t i = 0; i < ideal.size() && i < depth; ++i) best += ideal[i] * discount(i + 1);
  return gain / best;
}

}  // namespace

std::string Metric::name() const { return with_cutoff(names_of(kind).name, cutoff); }
std::string Metric::title() const { return with_cutoff(names_of(kind).title, cutoff); }

Metric parse_metric(std::string_view text) {
  const std::size_t at = text.find('@');
  const std::string_view name = text.substr(0, at);
  const auto kind = std::ranges::find_if(kKinds, [&](const KindName& k) { return k.name == name; });
  Metric metric;
  bool good = kind != std::end(kKinds);
  if (good && at != std::string_view::npos) {
    const std::string_view digits = text.substr(at + 1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), metric.cutoff);
    good = error == std::errc() && end == digits.data() + digits.size() && metric.cutoff > 0;
  } else if (good) {
    good = !kind->needs_cutoff;
  }
  if (!good) {
    throw Error(ErrorCode::kInvalidArgument, "unknown metric \"" + std::string(text) +
                                                 "\", expected ndcg@K, recall@K, p@K, success@K, rr, rr@K or map, with K at least 1");
  }
  metric.kind = kind->kind;
  return metric;
}

std::vector<Metric> default_metrics() {
  return {{MetricKind::kNdcg, 10},          {MetricKind::kRecall, 100},  {MetricKind::kAveragePrecision, 0},
          {MetricKind::kReciprocalRank, 0}, {MetricKind::kPrecision, 5}, {MetricKind::kReciprocalRank, 10},
          {MetricKind::kSuccess, 5}};
}

void sort_ranking(std::vector<RunEntry>& ranking) {
  std::ranges::sort(ranking, [](const RunEntry& a, const RunEntry& b) {
    const auto left = static_cast<float>(a.score), right = static_cast<float>(b.score);
    return left != right ? left > right : a.document > b.document;
  });
}

double metric_value(const Metric& metric, std::span<const int> ranking, std::span<const int> judged) {
  const auto relevant = static_cast<double>(std::ranges::count_if(judged, [](int relevance) { return relevance > 0; }));
  if (relevant == 0) return 0;
  const std::size_t depth = metric.cutoff == 0 ? std::max(ranking.size(), judged.size()) : metric.cutoff;
  if (metric.kind == MetricKind::kNdcg) return ndcg(ranking, judged, depth);
  double found = 0, precisions = 0;
  std::size_t first = 0;
  for (std::size_t i = 0; i < ranking.size() && i < depth; ++i) {
    if (ranking[i] <= 0) continue;
    if (first == 0) first = i + 1;
    found += 1;
    precisions += found / static_cast<double>(i + 1);
  }
  switch (metric.kind) {
    case MetricKind::kRecall:
      return found / relevant;
    case MetricKind::kPrecision:
      return found / static_cast<double>(depth);
    case MetricKind::kSuccess:
      return found > 0 ? 1 : 0;
    case MetricKind::kReciprocalRank:
      return first > 0 ? 1 / static_cast<double>(first) : 0;
    case MetricKind::kAveragePrecision:
      return precisions / relevant;
    case MetricKind::kNdcg:
      break;
  }
  return 0;
}

void RunScore::add(const std::string& query, std::span<const int> ranking, std::span<const int> judged) {
  std::vector<double>& values = per_query[query];
  values.clear();
  for (const Metric& metric : metrics) values.push_back(metric_value(metric, ranking, judged));
}

void RunScore::finish() {
  mean.assign(metrics.size(), 0);
  if (per_query.empty()) return;
  for (const auto& [query, values] : per_query) {
    for (std::size_t i = 0; i < values.size(); ++i) mean[i] += values[i];
  }
  for (double& value : mean) value /= static_cast<double>(per_query.size());
}

std::size_t RunScore::index_of(const Metric& metric) const {
  const auto it = std::ranges::find(metrics, metric);
  if (it == metrics.end()) throw Error(ErrorCode::kInvalidArgument, "the metric " + metric.name() + " was not measured");
  return static_cast<std::size_t>(it - metrics.begin());
}

RunScore score_run(const Judgements& judgements, const TrecRun& run, const std::vector<Metric>& metrics) {
  RunScore score;
  score.metrics = metrics;
  for (const auto& [query, documents] : judgements) {
    std::vector<int> judged;
    for (const auto& [document, relevance] : documents) judged.push_back(relevance);
    if (std::ranges::none_of(judged, [](int relevance) { return relevance > 0; })) continue;
    std::vector<int> ranking;
    if (const auto found = run.find(query); found != run.end()) {
      std::vector<RunEntry> entries = found->second;
      sort_ranking(entries);
      for (const RunEntry& entry : entries) {
        const auto it = documents.find(entry.document);
        ranking.push_back(it == documents.end() ? 0 : it->second);
      }
    }
    score.add(query, ranking, judged);
  }
  score.finish();
  return score;
}

}  // namespace gritstone
