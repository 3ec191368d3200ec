#include "pipelines/report_html.h"

#include <algorithm>
#include <span>

#include "base/hash.h"
#include "pipelines/report_charts.h"
#include "pipelines/report_style.h"
#include "pipelines/report_tables.h"
#include "pipelines/report_text.h"

namespace gritstone {
namespace {

std::string base64(std::span<const std::uint8_t> bytes) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 3; ++j) group = group << 8 | (i + j < bytes.size() ? bytes[i + j] : 0u);
    for (std::size_t j = 0; j < 4; ++j) out += i + j > bytes.size() ? '=' : kDigits[group >> (18 - 6 * j) & 63];
  }
  return out;
}

// The browser loads nothing and takes no style but this one.
void head(Markup& html, const Report& report) {
  html << "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
          "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-";
  html.text(base64(sha256(as_bytes(std::string_view(kReportStyle)))))
      << "'; base-uri 'none'; form-action 'none'\">\n"
         "<meta name=\"referrer\" content=\"no-referrer\">\n<meta name=\"color-scheme\" content=\"light dark\">\n<title>";
  html.text(report.title) << "</title>\n<style>" << kReportStyle << "</style>\n</head>\n<body>\n";
}

void sources(Markup& html, const Report& report) {
  html << "<details class=\"sources\"><summary>What was run: ";
  html.text(plural(report.sources.size(), "file", "files"));
  // What the first file says of model and machine is what readers look for first.
  for (const char* name : {"model", "collection", "machine"}) {
    for (const ReportSource& source : report.sources) {
      const auto it = std::ranges::find_if(source.about, [&](const auto& pair) { return pair.first == name; });
      if (it == source.about.end()) continue;
      html << "; ";
      html.text(it->second);
      break;
    }
  }
  html << "</summary>\n";
  for (const ReportSource& source : report.sources) {
    html << "<h3><bdi>";
    html.text(source.file) << "</bdi> <span class=\"muted\">";
    html.text(source.kind) << "</span></h3>\n";
    if (!source.warning.empty()) {
      html << "<p class=\"warning\">";
      html.text(source.warning) << "</p>\n";
    }
    if (source.about.empty()) continue;
    html << "<dl>";
    for (const auto& [name, value] : source.about) {
      html << "<dt>";
      html.text(name) << "</dt><dd><bdi>";
      html.text(value) << "</bdi></dd>\n";
    }
    html << "</dl>\n";
  }
  html << "</details>\n";
}

void table_html(Markup& html, const ReportTable& table) {
  // Focusable, so that it scrolls by keyboard where it is wider than the page.
  html << "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"";
  html.text(table.title) << "\"><table><thead><tr>";
  // Columns of words are set to the left.
  std::vector<bool> words(table.columns.size(), false);
  for (const ReportRow& row : table.rows) {
    for (std::size_t i = 0; i < row.cells.size(); ++i) {
      const std::string& text = row.cells[i].text;
      const bool number = !text.empty() && (text == "-" || text.find_first_of("0123456789") < 4) && text.find('/') == std::string::npos;
      if (!number && !text.empty()) words[i + 1] = true;
    }
  }
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    i == 0 || words[i] ? html << "<th scope=\"col\">" : html << "<th scope=\"col\" class=\"n\">";
    html.text(table.columns[i]) << "</th>";
  }
  html << "</tr></thead><tbody>\n";
  const ReportRow* before = nullptr;
  for (const ReportRow& row : table.rows) {
    const bool repeated = before != nullptr && before->name == row.name && before->number == row.number;
    before = &row;
    repeated ? html << "<tr class=\"more\"><th scope=\"row\"><span class=\"again\">" : html << "<tr><th scope=\"row\"><span>";
    if (row.number) html << config_chip(*row.number);
    html << "<bdi>";
    html.text(row.name) << "</bdi></span></th>";
    for (std::size_t i = 0; i < row.cells.size(); ++i) {
      const ReportCell& cell = row.cells[i];
      words[i + 1] ? html << "<td>" : html << "<td class=\"n\">";
      if (cell.best) html << "<strong>";
      html.text(cell.text);
      if (cell.best) html << "</strong>";
      if (!cell.range.empty()) {
        html << " <span class=\"range\">";
        html.text(cell.range) << "</span>";
      }
      html << "</td>";
    }
    html << "</tr>\n";
  }
  html << "</tbody></table></div>\n";
}

// All tables of this id under one heading: `title`, and then the tables' own below it; without a title the only table's.
void tables_section(Markup& html, const std::vector<ReportTable>& tables, std::string_view id, std::string_view title) {
  bool open = false;
  for (const ReportTable& table : tables) {
    if (table.id != id) continue;
    if (!open) {
      html << "<section id=\"";
      html.text(id) << "\"><h2>";
      html.text(title.empty() ? table.title : title) << "</h2>\n";
    }
    open = true;
    if (!title.empty()) {
      html << "<h3>";
      html.text(table.title) << "</h3>\n";
    }
    if (!table.note.empty()) {
      html << "<p class=\"note\">";
      html.text(table.note) << "</p>\n";
    }
    table_html(html, table);
  }
  if (open) html << "</section>\n";
}

// Both widths are in the page, and its style shows the one that fits.
template <typename Chart>
void chart_html(Markup& html, std::string_view description, Chart&& chart) {
  html << "<figure role=\"img\" aria-label=\"";
  html.text(description) << "\"><div class=\"wide\">" << chart(kWideChart) << "</div><div class=\"narrow\">" << chart(kNarrowChart)
                         << "</div>";
}

void legend_item(Markup& html, std::size_t number, std::string_view name, std::string_view detail) {
  html << "<li>" << config_chip(number) << "<bdi>";
  html.text(name) << "</bdi>";
  if (!detail.empty()) {
    html << " <span class=\"muted\">";
    html.text(detail) << "</span>";
  }
  html << "</li>\n";
}

std::string percentiles_of(const Distribution& d) {
  std::string text;
  for (const Percentile& p : d.percentiles) {
    if (p.share != 0.5 && p.share != 0.95) continue;
    text += text.empty() ? "p50 " : ", p95 ";
    text += milliseconds(p.value);
  }
  return text.empty() ? text : text + " ms";
}

// Load runs are numbered on from the configs.
void cdf_section(Markup& html, const Report& report) {
  std::vector<CdfSeries> series;
  for (std::size_t i = 0; i < report.configs.size(); ++i) series.push_back({i + 1, report.configs[i].ttft_ms});
  for (std::size_t i = 0; i < report.latency.size(); ++i) series.push_back({report.configs.size() + i + 1, report.latency[i].ttft_ms});
  if (std::ranges::all_of(series, [](const CdfSeries& s) { return s.values.empty(); })) return;
  html << "<section id=\"cdf\"><h2>Time to the first token</h2><p class=\"note\">The share of answers that have begun after so long. Dots: "
          "median and p95. Answers without generation have no first token and are left out.</p>\n";
  chart_html(html, "Distribution functions of the time to the first token; the figures are in the tables",
             [&](int width) { return cdf_chart(series, width); });
  html << "<ul class=\"legend\">";
  for (std::size_t i = 0; i < report.configs.size(); ++i) {
    if (!report.configs[i].ttft_ms.empty()) legend_item(html, i + 1, report.configs[i].all.config, percentiles_of(report.configs[i].ttft));
  }
  for (std::size_t i = 0; i < report.latency.size(); ++i) {
    const ReportLatency& l = report.latency[i];
    if (!l.ttft_ms.empty())
      legend_item(html, report.configs.size() + i + 1, l.label, "from when it was due, " + percentiles_of(l.summary.ttft_ms));
  }
  html << "</ul></figure></section>\n";
}

void waterfall_section(Markup& html, const Report& report) {
  std::vector<WaterfallBar> bars;
  std::map<std::string, bool> used;
  const auto add = [&](std::string label, const std::map<std::string, double>& medians) {
    WaterfallBar bar{std::move(label), {}};
    for (const auto& [stage, title] : report_stages()) {
      const auto it = medians.find(stage);
      if (it == medians.end() || it->second <= 0) continue;
      bar.stages.emplace_back(stage, it->second);
      used[stage] = true;
    }
    if (!bar.stages.empty()) bars.push_back(std::move(bar));
  };
  for (std::size_t i = 0; i < report.configs.size(); ++i) {
    add(std::to_string(i + 1) + "  " + report.configs[i].all.config, report.configs[i].stages_median);
  }
  for (const ReportLatency& l : report.latency) {
    std::map<std::string, double> medians;
    const auto median = [&](const std::string& stage, const Distribution& d) {
      if (!d.percentiles.empty()) medians[stage] = d.percentiles.front().value;
    };
    median("wait_ms", l.summary.wait_ms);
    for (const auto& [stage, d] : l.summary.stages) median(stage, d);
    add(l.label, medians);
  }
  if (bars.empty()) return;
  html << "<section id=\"stages\"><h2>Where the time goes</h2><p class=\"note\">Medians of the stages of an answer, one after the other; "
          "medians need not add up to the median of the whole. The mark stands where the first token is.</p>\n";
  chart_html(html, "Median milliseconds by stage, one bar for each config; the figures are in the CSV",
             [&](int width) { return waterfall_chart(bars, width); });
  html << "<ul class=\"legend stages\">";
  for (const auto& [stage, title] : report_stages()) {
    if (!used.contains(stage)) continue;
    html << "<li><span class=\"swatch st-";
    html.text(stage.substr(0, stage.find('_'))) << "\"></span>";
    html.text(title) << "</li>";
  }
  html << "</ul></figure></section>\n";
}

void scatter_section(Markup& html, const Report& report) {
  std::vector<ScatterPoint> points;
  for (std::size_t i = 0; i < report.configs.size(); ++i) {
    const ReportConfig& c = report.configs[i];
    if (c.all.answerable == 0 || c.ttft.percentiles.empty()) continue;
    points.push_back({i + 1, c.ttft.percentiles.front(), c.f1, c.on_front});
  }
  if (points.size() < 2) return;
  html << "<section id=\"tradeoff\"><h2>Quality against time</h2><p class=\"note\">F1 over the median time to the first token, with 95 % "
          "intervals of both. The line joins the configs that no other one beats in both; where whiskers overlap, the order may be "
          "chance.</p>\n";
  chart_html(html, "F1 against median time to the first token; the figures are in the tables",
             [&](int width) { return scatter_chart(points, width); });
  html << "<ul class=\"legend\">";
  for (const ScatterPoint& p : points) {
    legend_item(html, p.number, report.configs[p.number - 1].all.config,
                std::string("F1 ") + fixed(p.y.value, 3) + ", " + milliseconds(p.x.value) + " ms" + (p.on_front ? ", on the front" : ""));
  }
  html << "</ul></figure></section>\n";
}

}  // namespace

Markup config_chip(std::size_t number) {
  Markup html;
  html << "<span class=\"chip " << series_class(number) << "\">";
  html.count(number) << "</span>";
  return html;
}

std::string report_html(const Report& report) {
  Markup html;
  head(html, report);
  html << "<header><h1>";
  html.text(report.title) << "</h1>\n<ul class=\"findings\">";
  for (const std::string& sentence : report.findings) {
    html << "<li><bdi>";
    html.text(sentence) << "</bdi></li>\n";
  }
  html << "</ul>\n";
  sources(html, report);
  html << "</header>\n<main>\n";
  const std::vector<ReportTable> tables = report_tables(report);
  for (const char* id : {"quality", "cost"}) tables_section(html, tables, id, "");
  scatter_section(html, report);
  cdf_section(html, report);
  waterfall_section(html, report);
  tables_section(html, tables, "kind", "By kind of question");
  for (const char* id : {"differences", "retrieval", "latency"}) tables_section(html, tables, id, "");
  html << questions_html(report);
  tables_section(html, tables, "failures", "");
  html << "</main>\n<footer>Made by <code>gritstone eval report</code>; formulas and sources are in "
          "docs/evaluation.md.</footer>\n</body>\n</html>\n";
  return html.str();
}

}  // namespace gritstone
