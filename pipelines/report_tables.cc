#include "pipelines/report_tables.h"

#include <algorithm>
#include <functional>
#include <set>

#include "pipelines/report_text.h"

namespace gritstone {
namespace {

enum class Better { kHigher, kLower, kNeither };

// A column over rows of one kind: what is printed, and what makes one the best.
template <typename Item>
struct Column {
  std::string title;
  Better better = Better::kNeither;
  std::function<std::optional<double>(const Item&)> value;  // absent: "-"
  std::function<ReportCell(const Item&, double value)> cell;
};

template <typename Item>
void fill(ReportTable& table, const std::vector<Item>& items, const std::vector<Column<Item>>& columns) {
  for (const Column<Item>& column : columns) {
    table.columns.push_back(column.title);
    std::vector<ReportCell> cells;
    std::set<double> values;
    for (std::size_t i = 0; i < items.size(); ++i) {
      const std::optional<double> value = column.value(items[i]);
      cells.push_back(value ? column.cell(items[i], *value) : ReportCell{"-", "", false});
      if (value) values.insert(*value);
    }
    for (std::size_t i = 0; i < items.size(); ++i) {
      // Where all are the same, none is best.
      if (column.better != Better::kNeither && values.size() > 1) {
        const double best = column.better == Better::kHigher ? *values.rbegin() : *values.begin();
        cells[i].best = column.value(items[i]) == best;
      }
      table.rows[i].cells.push_back(std::move(cells[i]));
    }
  }
}

template <typename Item>
auto plain(int digits) {
  return [digits](const Item&, double value) { return ReportCell{fixed(value, digits), "", false}; };
}

// Of QaSummary: its figures over `whole` questions, absent where there are none.
Column<QaSummary> share_column(const std::string& title, Better better, double QaSummary::*value, std::size_t QaSummary::*whole) {
  return {title, better, [=](const QaSummary& s) { return s.*whole > 0 ? std::optional(s.*value) : std::nullopt; }, plain<QaSummary>(3)};
}

ReportTable table_of_configs(const Report& report, std::string id, std::string title, std::string note) {
  ReportTable table{std::move(id), std::move(title), std::move(note), {"config"}, {}};
  for (std::size_t i = 0; i < report.configs.size(); ++i) table.rows.push_back({i + 1, report.configs[i].all.config, {}});
  return table;
}

std::optional<double> unanswerable_share(const QaSummary& s) {
  return s.questions > s.answerable ? std::optional(s.abstention) : std::nullopt;
}

ReportTable quality_table(const Report& report) {
  ReportTable table = table_of_configs(
      report, "quality", "Quality",
      "EM, F1, right (a gold answer stands in the answer) and hit (in a passage before the model) over answerable questions; brackets are "
      "95 % bootstrap intervals. Abstained: of the questions the documents do not answer; falsely: of those they do.");
  using C = Column<ReportConfig>;
  const auto all = [](Column<QaSummary> c) {
    return C{c.title, c.better, [c](const ReportConfig& config) { return c.value(config.all); },
             [c](const ReportConfig& config, double value) { return c.cell(config.all, value); }};
  };
  const auto interval = [](const std::string& title, Interval ReportConfig::*of) {
    return C{title, Better::kHigher,
             [=](const ReportConfig& c) { return c.all.answerable > 0 ? std::optional((c.*of).value) : std::nullopt; },
             [=](const ReportConfig& c, double value) {
               return ReportCell{fixed(value, 3), range_text((c.*of).lower, (c.*of).upper, 3), false};
             }};
  };
  fill<ReportConfig>(
      table, report.configs,
      {{"n", Better::kNeither, [](const ReportConfig& c) { return static_cast<double>(c.all.questions); }, plain<ReportConfig>(0)},
       all(share_column("EM", Better::kHigher, &QaSummary::exact_match, &QaSummary::answerable)),
       interval("F1", &ReportConfig::f1),
       interval("right", &ReportConfig::right),
       all(share_column("hit", Better::kHigher, &QaSummary::hit_rate, &QaSummary::answerable)),
       all(share_column("citation precision", Better::kHigher, &QaSummary::citation_precision, &QaSummary::answerable)),
       all(share_column("citation recall", Better::kHigher, &QaSummary::citation_recall, &QaSummary::answerable)),
       {"abstained", Better::kHigher, [](const ReportConfig& c) { return unanswerable_share(c.all); }, plain<ReportConfig>(3)},
       all(share_column("falsely", Better::kLower, &QaSummary::false_abstention, &QaSummary::answerable))});
  return table;
}

Column<ReportConfig> percentile_column(const std::string& title, Distribution ReportConfig::*of, double share) {
  const auto find = [=](const ReportConfig& c) {
    const auto& all = (c.*of).percentiles;
    return std::ranges::find(all, share, &Percentile::share);
  };
  return {title, Better::kLower,
          [=](const ReportConfig& c) {
            const auto p = find(c);
            return p == (c.*of).percentiles.end() ? std::nullopt : std::optional(p->value);
          },
          [=](const ReportConfig& c, double value) {
            return ReportCell{milliseconds(value), range_text(find(c)->lower, find(c)->upper, 0), false};
          }};
}

ReportTable cost_table(const Report& report) {
  ReportTable table = table_of_configs(report, "cost", "Time, and what reuse changes",
                                       "Milliseconds; brackets are 95 % intervals from order statistics, \"?\" where there are too few "
                                       "samples for a bound. Stayed right: of the "
                                       "answers that are right under the reference policy of the same retrieval, those that still are, and "
                                       "the lower end of the one-sided 95 % "
                                       "interval. Flipped: answers of other words. KL: nats a token beside the reference.");
  using C = Column<ReportConfig>;
  const auto compared = [](const ReportConfig& c) { return c.all.compared > 0; };
  fill<ReportConfig>(
      table, report.configs,
      {percentile_column("TTFT p50", &ReportConfig::ttft, 0.5), percentile_column("TTFT p95", &ReportConfig::ttft, 0.95),
       percentile_column("total p50", &ReportConfig::total, 0.5),
       C{"reused", Better::kNeither, [](const ReportConfig& c) { return std::optional(c.all.reused_share); },
         [](const ReportConfig&, double value) {
           return ReportCell{percent(value), "", false};
         }},
       C{"stayed right", Better::kNeither,
         [=](const ReportConfig& c) {
           return compared(c) && c.all.reference_right > 0 ? std::optional(static_cast<double>(c.all.stayed_right)) : std::nullopt;
         },
         [](const ReportConfig& c, double) {
           return ReportCell{count_text(c.all.stayed_right) + " of " + count_text(c.all.reference_right),
                             std::string("\u2265 ") + percent(c.all.stayed_right_lower), false};
         }},
       C{"flipped", Better::kLower,
         [=](const ReportConfig& c) { return compared(c) ? std::optional(static_cast<double>(c.all.flipped)) : std::nullopt; },
         [](const ReportConfig& c, double) {
           return ReportCell{count_text(c.all.flipped) + " of " + count_text(c.all.compared), "", false};
         }},
       C{"KL", Better::kLower, [](const ReportConfig& c) { return c.all.kl_tokens > 0 ? std::optional(c.all.kl_mean) : std::nullopt; },
         plain<ReportConfig>(4)},
       C{"same top token", Better::kHigher,
         [](const ReportConfig& c) { return c.all.kl_tokens > 0 ? std::optional(c.all.top1_agreement) : std::nullopt; },
         [](const ReportConfig&, double value) {
           return ReportCell{percent(value, 1), "", false};
         }}});
  return table;
}

ReportTable kind_table(const Report& report, const std::string& kind) {
  std::vector<QaSummary> summaries;
  for (const ReportConfig& c : report.configs) summaries.push_back(c.kinds.at(kind));
  ReportTable table = table_of_configs(report, "kind", kind, "");
  const bool answerable = std::ranges::any_of(summaries, [](const QaSummary& s) { return s.answerable > 0; });
  const bool unanswerable = std::ranges::any_of(summaries, [](const QaSummary& s) { return s.questions > s.answerable; });
  std::vector<Column<QaSummary>> columns = {
      {"n", Better::kNeither, [](const QaSummary& s) { return static_cast<double>(s.questions); }, plain<QaSummary>(0)}};
  if (answerable) {
    columns.push_back(share_column("EM", Better::kHigher, &QaSummary::exact_match, &QaSummary::answerable));
    columns.push_back(share_column("F1", Better::kHigher, &QaSummary::f1, &QaSummary::answerable));
    columns.push_back(share_column("right", Better::kHigher, &QaSummary::contained, &QaSummary::answerable));
    columns.push_back(share_column("hit", Better::kHigher, &QaSummary::hit_rate, &QaSummary::answerable));
    columns.push_back(share_column("citation recall", Better::kHigher, &QaSummary::citation_recall, &QaSummary::answerable));
    columns.push_back(share_column("abstained falsely", Better::kLower, &QaSummary::false_abstention, &QaSummary::answerable));
  }
  if (unanswerable) columns.push_back({"abstained", Better::kHigher, unanswerable_share, plain<QaSummary>(3)});
  fill(table, summaries, columns);
  return table;
}

ReportTable retrieval_table(const Report& report) {
  ReportTable table{"retrieval", "Retrieval", "Means over the judged queries, with 95 % bootstrap intervals.", {"ranking"}, {}};
  std::set<std::string> names;
  for (const ReportRetrieval& r : report.retrieval) {
    table.rows.push_back({std::nullopt, r.label, {}});
    for (const auto& [metric, value] : r.metrics) names.insert(metric);
  }
  std::vector<std::string> order;
  for (const char* known : {"ndcg@10", "recall@100", "map", "rr", "p@5"}) {
    if (names.erase(known) > 0) order.emplace_back(known);
  }
  order.insert(order.end(), names.begin(), names.end());
  std::vector<Column<ReportRetrieval>> columns = {
      {"queries", Better::kNeither, [](const ReportRetrieval& r) { return static_cast<double>(r.queries); }, plain<ReportRetrieval>(0)}};
  for (const std::string& metric : order) {
    columns.push_back(
        {metric_title(metric), smaller_is_better(metric) ? Better::kLower : Better::kHigher,
         [metric](const ReportRetrieval& r) {
           const auto it = r.metrics.find(metric);
           return it == r.metrics.end() ? std::nullopt : std::optional(it->second);
         },
         [metric](const ReportRetrieval& r, double value) {
           const auto it = r.intervals.find(metric);
           return ReportCell{fixed(value, 4), it == r.intervals.end() ? "" : range_text(it->second.lower, it->second.upper, 3), false};
         }});
  }
  fill(table, report.retrieval, columns);
  return table;
}

ReportTable latency_table(const Report& report) {
  ReportTable table{
      "latency",
      "Under load",
      "Milliseconds from when a request was due, with 95 % intervals from order statistics. Failed requests enter no percentile.",
      {"run"},
      {}};
  for (const ReportLatency& latency : report.latency) table.rows.push_back({std::nullopt, latency.label, {}});
  using C = Column<ReportLatency>;
  const auto summary = [](const std::string& title, Better better, double LatencySummary::*of, int digits) {
    return C{title, better, [=](const ReportLatency& l) { return std::optional(l.summary.*of); }, plain<ReportLatency>(digits)};
  };
  const auto count = [](const std::string& title, std::size_t LatencySummary::*of) {
    return C{title, Better::kNeither, [=](const ReportLatency& l) { return std::optional(static_cast<double>(l.summary.*of)); },
             plain<ReportLatency>(0)};
  };
  const auto percentile = [](const std::string& title, Distribution LatencySummary::*of, double share) {
    const auto find = [=](const ReportLatency& l) -> const Percentile* {
      const auto it = std::ranges::find((l.summary.*of).percentiles, share, &Percentile::share);
      return it == (l.summary.*of).percentiles.end() ? nullptr : &*it;
    };
    return C{title, Better::kLower, [=](const ReportLatency& l) { return find(l) ? std::optional(find(l)->value) : std::nullopt; },
             [=](const ReportLatency& l, double value) {
               return ReportCell{milliseconds(value), range_text(find(l)->lower, find(l)->upper, 0), false};
             }};
  };
  fill<ReportLatency>(table, report.latency,
                      {count("requests", &LatencySummary::requests), count("failed", &LatencySummary::failed),
                       summary("requests/s", Better::kHigher, &LatencySummary::requests_per_second, 2),
                       percentile("TTFT p50", &LatencySummary::ttft_ms, 0.5), percentile("TTFT p95", &LatencySummary::ttft_ms, 0.95),
                       percentile("TTFT p99", &LatencySummary::ttft_ms, 0.99), percentile("TPOT p50", &LatencySummary::tpot_ms, 0.5),
                       percentile("E2E p50", &LatencySummary::e2e_ms, 0.5), percentile("E2E p95", &LatencySummary::e2e_ms, 0.95)});
  return table;
}

ReportTable difference_table(const Report& report) {
  ReportTable table{
      "differences",
      "Paired differences",
      "Each config beside its reference, question by question: 95 % intervals of the paired bootstrap, p-values of the paired "
      "randomisation test, corrected over this whole table (Holm). \"Could show\" is the smallest difference that so many pairs, so "
      "scattered, show in four of five experiments.",
      {"config", "beside", "metric", "n", "reference", "config's", "difference", "p (Holm)", "could show"},
      {}};
  for (const ReportDifference& d : report.differences) {
    const PairedComparison& c = d.figures;
    const bool time = smaller_is_better(c.metric);
    const auto value = [time](double v) { return time ? milliseconds(v) : fixed(v, 3); };
    const std::string range = std::string("[") + signed_fixed(c.lower, time ? 0 : 3) + ", " + signed_fixed(c.upper, time ? 0 : 3) + "]";
    const bool shown = c.p_holm < 0.05 && (c.lower > 0 || c.upper < 0);
    const bool better = shown && (c.difference < 0) == time;
    const std::string verdict = better ? " better" : shown ? " worse" : "";
    table.rows.push_back({d.config + 1,
                          report.configs[d.config].all.config,
                          {{report.configs[d.against].all.config, "", false},
                           {metric_title(c.metric), "", false},
                           {count_text(c.n), "", false},
                           {value(c.mean_a), "", false},
                           {value(c.mean_b), "", false},
                           {signed_fixed(c.difference, time ? 0 : 3), range, false},
                           {fixed(c.p_holm, 4) + verdict, "", better},
                           {value(c.detectable), "", false}}});
  }
  return table;
}

ReportTable failure_table(const Report& report) {
  ReportTable table{"failures", "Failures", "", {"where", "count", "message", "example"}, {}};
  for (const ReportFailure& f : report.failures) {
    table.rows.push_back({std::nullopt, f.where, {{count_text(f.count), "", false}, {f.message, "", false}, {f.example, "", false}}});
  }
  return table;
}

}  // namespace

std::vector<ReportTable> report_tables(const Report& report) {
  std::vector<ReportTable> tables = {quality_table(report), cost_table(report)};
  for (const std::string& kind : report.kinds) tables.push_back(kind_table(report, kind));
  tables.push_back(difference_table(report));
  tables.push_back(retrieval_table(report));
  tables.push_back(latency_table(report));
  tables.push_back(failure_table(report));
  std::erase_if(tables, [](const ReportTable& t) { return t.rows.empty(); });
  return tables;
}

}  // namespace gritstone
