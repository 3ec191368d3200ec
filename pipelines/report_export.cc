#include "pipelines/report_export.h"

#include <cmath>
#include <cstdio>

#include "base/utf8.h"
#include "pipelines/report_tables.h"

namespace gritstone {
namespace {

// Enough digits to read the same double back.
std::string number(double value) {
  if (!std::isfinite(value)) return "";
  char buffer[32];
  for (int digits = 6; digits <= 17; ++digits) {
    std::snprintf(buffer, sizeof(buffer), "%.*g", digits, value);
    double back = 0;
    if (std::sscanf(buffer, "%lf", &back) == 1 && back == value) break;
  }
  return buffer;
}

class Csv {
 public:
  Csv() { text_ = "table,name,kind,metric,n,value,lower,upper\r\n"; }

  void row(std::string_view table, const std::string& name, const std::string& kind, const std::string& metric, std::size_t n, double value,
           std::optional<double> lower = {}, std::optional<double> upper = {}) {
    const auto bound = [](const std::optional<double>& b) { return b ? number(*b) : std::string(); };
    text_ += table;
    for (const std::string& field :
         {csv_field(name), csv_field(kind), csv_field(metric), std::to_string(n), number(value), bound(lower), bound(upper)}) {
      text_ += ',';
      text_ += field;
    }
    text_ += "\r\n";
  }

  void distribution(std::string_view table, const std::string& name, const std::string& metric, const Distribution& d) {
    if (d.n == 0) return;
    row(table, name, "", metric + "_mean", d.n, d.mean);
    for (const Percentile& p : d.percentiles) {
      row(table, name, "", metric + "_p" + number(100 * p.share), d.n, p.value, p.lower, p.upper);
    }
  }

  void summary(const QaSummary& s, const std::string& kind, const Interval* f1, const Interval* right) {
    const auto of = [&](const char* metric, std::size_t n, double value) {
      if (n > 0) row("answers", s.config, kind, metric, n, value);
    };
    const auto with = [&](const char* metric, double value, const Interval* i) {
      if (s.answerable == 0) return;
      row("answers", s.config, kind, metric, s.answerable, value, i ? std::optional(i->lower) : std::nullopt,
          i ? std::optional(i->upper) : std::nullopt);
    };
    of("em", s.answerable, s.exact_match);
    with("f1", s.f1, f1);
    with("right", s.contained, right);
    of("hit", s.answerable, s.hit_rate);
    of("citation_precision", s.answerable, s.citation_precision);
    of("citation_recall", s.answerable, s.citation_recall);
    of("abstention", s.questions - s.answerable, s.abstention);
    of("false_abstention", s.answerable, s.false_abstention);
    of("reused_share", s.questions, s.reused_share);
    if (s.reference_right > 0) {
      row("answers", s.config, kind, "stayed_right", s.reference_right,
          static_cast<double>(s.stayed_right) / static_cast<double>(s.reference_right), s.stayed_right_lower);
    }
    of("flipped_share", s.compared, s.compared > 0 ? static_cast<double>(s.flipped) / static_cast<double>(s.compared) : 0);
    of("kl_mean", s.kl_tokens, s.kl_mean);
    of("kl_p99", s.kl_tokens, s.kl_p99);
    of("top1_agreement", s.kl_tokens, s.top1_agreement);
    of("failed", s.failed, static_cast<double>(s.failed));
  }

  std::string text() const { return text_; }

 private:
  std::string text_;
};

std::string markdown_text(std::string_view text) {
  std::string out;
  for (const char c : sanitize_utf8(text)) {
    if (std::string_view("\\`*_[]<>|#~").find(c) != std::string_view::npos) {
      out += '\\';
      out += c;
    } else {
      out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return out;
}

void markdown_table(std::string& out, const ReportTable& table) {
  out += "\n**";
  out += markdown_text(table.title);
  out += "**\n\n|";
  for (const std::string& column : table.columns) out.append(" ").append(markdown_text(column)).append(" |");
  out += "\n|";
  for (std::size_t i = 0; i < table.columns.size(); ++i) out += i == 0 ? " --- |" : " ---: |";
  out += '\n';
  for (const ReportRow& row : table.rows) {
    out.append("| ").append(markdown_text(row.name)).append(" |");
    for (const ReportCell& cell : row.cells) {
      std::string text = markdown_text(cell.text);
      if (cell.best) text = std::string("**").append(text).append("**");
      if (!cell.range.empty()) text.append(" ").append(markdown_text(cell.range));
      out.append(" ").append(text).append(" |");
    }
    out += '\n';
  }
}

}  // namespace

std::string csv_field(std::string_view text) {
  std::string field = sanitize_utf8(text);
  if (!field.empty() && std::string_view("=+-@\t\r").find(field[0]) != std::string_view::npos) field.insert(0, 1, '\'');
  if (field.find_first_of(",\"\r\n") == std::string::npos) return field;
  std::string quoted(1, '"');
  for (const char c : field) quoted.append(c == '"' ? 2 : 1, c);
  quoted += '"';
  return quoted;
}

std::string report_csv(const Report& report) {
  Csv csv;
  for (const ReportConfig& c : report.configs) {
    csv.summary(c.all, "", &c.f1, &c.right);
    for (const auto& [kind, summary] : c.kinds) csv.summary(summary, kind, nullptr, nullptr);
    csv.distribution("answers", c.all.config, "ttft_ms", c.ttft);
    csv.distribution("answers", c.all.config, "total_ms", c.total);
    for (const auto& [stage, ms] : c.stages_median) csv.row("stages", c.all.config, "", stage, c.ttft.n, ms);
  }
  for (const ReportDifference& d : report.differences) {
    const PairedComparison& p = d.figures;
    csv.row("differences", report.configs[d.config].all.config, "", p.metric, p.n, p.difference, p.lower, p.upper);
    csv.row("differences", report.configs[d.config].all.config, "", p.metric + "_p_holm", p.n, p.p_holm);
  }
  for (const ReportRetrieval& r : report.retrieval) {
    for (const auto& [metric, value] : r.metrics) {
      const auto i = r.intervals.find(metric);
      const bool known = i != r.intervals.end();
      csv.row("retrieval", r.label, "", metric, r.queries, value, known ? std::optional(i->second.lower) : std::nullopt,
              known ? std::optional(i->second.upper) : std::nullopt);
    }
  }
  for (const ReportLatency& l : report.latency) {
    const LatencySummary& s = l.summary;
    csv.row("latency", l.label, "", "requests", s.requests, static_cast<double>(s.requests));
    csv.row("latency", l.label, "", "failed", s.requests, static_cast<double>(s.failed));
    csv.row("latency", l.label, "", "requests_per_second", s.requests, s.requests_per_second);
    for (const auto& [name, d] : {std::pair{"wait_ms", &s.wait_ms},
                                  {"ttft_ms", &s.ttft_ms},
                                  {"tpot_ms", &s.tpot_ms},
                                  {"itl_ms", &s.itl_ms},
                                  {"e2e_ms", &s.e2e_ms}}) {
      csv.distribution("latency", l.label, name, *d);
    }
    for (const auto& [stage, d] : s.stages) csv.distribution("stages", l.label, stage, d);
  }
  return csv.text();
}

std::string report_markdown(const Report& report) {
  std::string out = "## ";
  out += markdown_text(report.title);
  out += "\n\n";
  for (const std::string& sentence : report.findings) {
    out += "- ";
    out += markdown_text(sentence);
    out += '\n';
  }
  for (const ReportTable& table : report_tables(report)) markdown_table(out, table);
  return out;
}

}  // namespace gritstone
