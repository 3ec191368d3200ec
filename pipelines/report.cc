#include "pipelines/report.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/error.h"
#include "pipelines/report_text.h"
#include "pipelines/statistics.h"

namespace gritstone {
namespace {

using RowsOf = std::map<std::string, std::map<std::string, const QaRow*>>;  // by config, by question

ReportConfig config_of(const std::map<std::string, const QaRow*>& rows, QaSummary summary, const ReportOptions& options) {
  ReportConfig c;
  c.all = std::move(summary);
  std::vector<double> f1, right, total;
  std::map<std::string, std::vector<double>> stages;
  for (const auto& [id, row] : rows) {
    if (!row->error.empty()) continue;
    total.push_back(row->total_ms);
    if (row->answerable) {
      f1.push_back(row->f1);
      right.push_back(row->contained ? 1 : 0);
    }
    if (row->completion_tokens == 0) continue;
    c.ttft_ms.push_back(row->ttft_ms);
    for (const auto& [stage, ms] : row->stages) stages[stage].push_back(ms);
  }
  c.f1 = bootstrap_mean(f1, options.resamples, options.seed);
  c.right = bootstrap_mean(right, options.resamples, options.seed);
  c.ttft = distribution_of(c.ttft_ms);
  c.total = distribution_of(std::move(total));
  for (auto& [stage, values] : stages) {
    values.resize(c.ttft_ms.size(), 0.0);
    c.stages_median[stage] = quantile(std::move(values), 0.5);
  }
  return c;
}

// Few, because every further one costs all of them power (Holm); EM and hit say little that these do not.
constexpr const char* kCompared[] = {"f1", "contained", "abstained", "ttft_ms"};

class Builder {
 public:
  Builder(const ReportInputs& inputs, const ReportOptions& options) : inputs_(inputs), options_(options) {
    for (const QaRow& row : inputs.rows) rows_[row.config][row.id] = &row;
  }

  Report build() {
    report_.title = options_.title;
    report_.sources = inputs_.sources;
    report_.retrieval = inputs_.retrieval;
    report_.latency = inputs_.latency;
    for (ReportRetrieval& r : report_.retrieval) {
      for (const auto& [metric, figures] : r.figures) {
        std::vector<double> values;
        for (const auto& [query, value] : figures) values.push_back(value);
        r.intervals[metric] = bootstrap_mean(values, options_.resamples, options_.seed);
      }
    }
    add_configs();
    add_differences();
    choose();
    add_questions();
    add_failures();
    report_.findings = report_findings(report_);
    return std::move(report_);
  }

 private:
  void add_configs() {
    std::vector<QaSummary> all = summarise(inputs_.rows, inputs_.configs);
    for (QaSummary& summary : all) {
      const std::map<std::string, const QaRow*>& rows = rows_[summary.config];
      report_.configs.push_back(config_of(rows, std::move(summary), options_));
    }
    std::set<std::string> kinds;
    for (const QaRow& row : inputs_.rows) {
      if (!row.kind.empty()) kinds.insert(row.kind);
    }
    if (kinds.size() < 2) return;
    report_.kinds.assign(kinds.begin(), kinds.end());
    for (const std::string& kind : report_.kinds) {
      std::vector<QaSummary> of_kind = summarise(inputs_.rows, inputs_.configs, kind);
      for (std::size_t i = 0; i < of_kind.size(); ++i) report_.configs[i].kinds[kind] = std::move(of_kind[i]);
    }
  }

  // Policies stand beside the reference of their retrieval; those references beside the first config's.
  std::size_t comparator(std::size_t config) const {
    const std::size_t own = reference_of(inputs_.configs, config);
    return own != config ? own : reference_of(inputs_.configs, 0);
  }

  void add_differences() {
    const std::map<std::string, QuestionFigures> figures = figures_of(inputs_.rows);
    for (std::size_t c = 0; c < report_.configs.size(); ++c) {
      const std::size_t against = comparator(c);
      report_.configs[c].compared_with = against;
      if (against == c) continue;
      const QuestionFigures &a = figures.at(inputs_.configs[against]), &b = figures.at(inputs_.configs[c]);
      bool any = false;
      for (const char* metric : kCompared) {
        if (!a.contains(metric) || !b.contains(metric)) continue;
        try {
          const QuestionFigures one = {{metric, a.at(metric)}}, other = {{metric, b.at(metric)}};
          report_.differences.push_back({c, against, compare_paired(one, other, {options_.resamples, options_.seed})[0]});
          any = true;
        } catch (const Error&) {
          // They share no question, as two run files over different sets.
        }
      }
      if (!any) report_.configs[c].compared_with = c;
    }
    std::vector<PairedComparison*> family;
    for (ReportDifference& d : report_.differences) family.push_back(&d.figures);
    correct_holm(family);
  }

  void choose() {
    std::vector<std::pair<double, double>> points;
    std::vector<std::size_t> places;
    for (std::size_t c = 0; c < report_.configs.size(); ++c) {
      const ReportConfig& config = report_.configs[c];
      if (config.all.answerable == 0) continue;
      if (!report_.best || config.all.f1 > report_.configs[*report_.best].all.f1) report_.best = c;
      if (config.ttft.n == 0) continue;
      points.emplace_back(config.all.ttft_ms_median, config.all.f1);
      places.push_back(c);
      const QaConfigName name = parse_config_name(config.all.config);
      const bool policy = reference_of(inputs_.configs, c) != c && name.policy != "exact";
      const bool main = name.retrieval == parse_config_name(inputs_.configs[0]).retrieval;
      if (!policy || !main) continue;
      if (!report_.fast || config.all.ttft_ms_median < report_.configs[*report_.fast].all.ttft_ms_median) report_.fast = c;
    }
    for (const std::size_t i : pareto_front(points)) report_.configs[places[i]].on_front = true;
  }

  ReportQuestion question_of(const QaRow& row, std::string why) const {
    ReportQuestion q;
    q.id = row.id;
    q.kind = row.kind;
    q.question = row.question;
    q.gold = row.gold;
    q.why = std::move(why);
    for (std::size_t c = 0; c < inputs_.configs.size(); ++c) {
      const auto& of_config = rows_.at(inputs_.configs[c]);
      if (const auto it = of_config.find(row.id); it != of_config.end()) q.rows[c] = *it->second;
    }
    return q;
  }

  void add_questions() {
    if (!report_.best) return;
    std::vector<const QaRow*> worst;
    for (const auto& [id, row] : rows_.at(inputs_.configs[*report_.best])) {
      if (row->answerable && row->error.empty() && row->f1 < 1) worst.push_back(row);
    }
    std::ranges::stable_sort(worst, {}, [](const QaRow* row) { return row->f1; });
    if (worst.size() > options_.questions) worst.resize(options_.questions);
    for (const QaRow* row : worst) report_.worst.push_back(question_of(*row, std::string("F1 ") + fixed(row->f1, 2)));
    if (!report_.fast) return;
    const std::string& fast = inputs_.configs[*report_.fast];
    const std::string& reference = inputs_.configs[report_.configs[*report_.fast].compared_with];
    // First what got lost, then what was won.
    for (const bool lost : {true, false}) {
      std::size_t shown = 0;
      for (const auto& [id, row] : rows_.at(reference)) {
        const auto other = rows_.at(fast).find(id);
        if (other == rows_.at(fast).end() || !row->error.empty() || !other->second->error.empty()) continue;
        if (row->contained != lost || other->second->contained == lost || shown == options_.questions) continue;
        ++shown;
        report_.flipped.push_back(question_of(
            *row, lost ? "right under " + reference + ", wrong under " + fast : "wrong under " + reference + ", right under " + fast));
      }
    }
  }

  void add_failures() {
    for (const std::string& config : inputs_.configs) {
      std::map<std::string, ReportFailure> by_message;
      for (const auto& [id, row] : rows_.at(config)) {
        if (row->error.empty()) continue;
        ReportFailure& failure = by_message[row->error];
        if (failure.count++ == 0) failure.example = id;
      }
      for (auto& [message, failure] : by_message) {
        failure.where = config;
        failure.message = message;
        report_.failures.push_back(std::move(failure));
      }
    }
    for (const ReportLatency& latency : inputs_.latency) {
      for (const auto& [message, count] : latency.summary.errors) report_.failures.push_back({latency.label, message, count, ""});
    }
  }

  const ReportInputs& inputs_;
  const ReportOptions& options_;
  RowsOf rows_;
  Report report_;
};

}  // namespace

Report build_report(const ReportInputs& inputs, const ReportOptions& options) {
  if (inputs.configs.empty() && inputs.retrieval.empty() && inputs.latency.empty()) {
    throw Error(ErrorCode::kInvalidArgument, "the files hold no answer, ranking or request: there is nothing to report");
  }
  return Builder(inputs, options).build();
}

std::string metric_title(const std::string& metric) {
  static const std::map<std::string, std::string> kTitles = {{"em", "EM"},
                                                             {"f1", "F1"},
                                                             {"contained", "right"},
                                                             {"hit", "hit"},
                                                             {"abstained", "abstained"},
                                                             {"ttft_ms", "TTFT, ms"},
                                                             {"total_ms", "total, ms"},
                                                             {"ndcg@10", "nDCG@10"},
                                                             {"recall@100", "Recall@100"},
                                                             {"map", "MAP"},
                                                             {"rr", "RR"},
                                                             {"p@5", "P@5"}};
  const auto it = kTitles.find(metric);
  return it == kTitles.end() ? metric : it->second;
}

const std::vector<std::pair<std::string, std::string>>& report_stages() {
  static const std::vector<std::pair<std::string, std::string>> kStages = {
      {"wait_ms", "wait"},       {"embed_ms", "embed"},   {"bm25_ms", "BM25"},       {"vector_ms", "vector search"}, {"fuse_ms", "fuse"},
      {"rerank_ms", "rerank"},   {"prompt_ms", "prompt"}, {"compose_ms", "compose"}, {"queue_ms", "queue"},          {"load_ms", "load"},
      {"prefill_ms", "prefill"}, {"decode_ms", "decode"}, {"cite_ms", "cite"}};
  return kStages;
}

}  // namespace gritstone
