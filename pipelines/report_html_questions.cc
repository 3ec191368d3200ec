// Single questions: what was asked, what was answered under each config, from which passages.
#include <algorithm>
#include <utility>
#include <vector>

#include "pipelines/report_charts.h"
#include "pipelines/report_html.h"
#include "pipelines/report_text.h"

namespace gritstone {
namespace {

// The end of a path says most.
std::string short_path(const std::string& path) {
  const std::size_t slash = path.find_last_of('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

void user_text(Markup& html, std::string_view text) {
  // Isolated: text of one writing direction cannot reorder what stands around it.
  html << "<bdi>";
  html.text(text) << "</bdi>";
}

void answers(Markup& html, const ReportQuestion& question) {
  html << "<div class=\"scroll\"><table class=\"answers\"><thead><tr><th>config</th><th>answer</th><th class=\"n\">F1</th><th>right</th>"
          "<th class=\"n\">TTFT</th></tr></thead><tbody>\n";
  for (const auto& [config, row] : question.rows) {
    html << "<tr><th scope=\"row\">" << config_chip(config + 1);
    html.text(row.config) << "</th><td>";
    if (!row.error.empty()) {
      html << "<em>failed: ";
      user_text(html, row.error);
      html << "</em></td><td></td><td></td><td></td></tr>\n";
      continue;
    }
    if (row.abstained) html << "<em class=\"muted\">abstained</em> ";
    user_text(html, row.answer);
    html << "</td><td class=\"n\">";
    if (row.answerable) html.number(row.f1, 2);
    html << "</td><td>";
    row.contained ? html << "<span class=\"yes\">yes</span>" : html << "<span class=\"no\">no</span>";
    html << "</td><td class=\"n\">";
    if (row.completion_tokens > 0) html.text(milliseconds(row.ttft_ms));
    html << "</td></tr>\n";
  }
  html << "</tbody></table></div>\n";
}

bool same_passages(const QaRow& a, const QaRow& b) {
  return std::ranges::equal(a.passages, b.passages, [](const QaPassage& p, const QaPassage& q) {
    return p.path == q.path && p.start == q.start && p.end == q.end;
  });
}

// Passages once per list, with the configs that had them; citations with each config that made them.
void passages(Markup& html, const ReportQuestion& question) {
  std::vector<std::pair<const QaRow*, std::vector<std::size_t>>> lists;
  for (const auto& [config, row] : question.rows) {
    if (!row.error.empty() || row.passages.empty()) continue;
    const QaRow& current = row;
    const auto known = std::ranges::find_if(lists, [&](const auto& list) { return same_passages(*list.first, current); });
    if (known == lists.end()) {
      lists.push_back({&row, {config}});
    } else {
      known->second.push_back(config);
    }
  }
  for (const auto& [row, configs] : lists) {
    html << "<p class=\"of\">Passages of ";
    for (const std::size_t config : configs) html << config_chip(config + 1);
    html << "</p><ol class=\"passages\">\n";
    for (std::size_t i = 0; i < row->passages.size(); ++i) {
      const QaPassage& p = row->passages[i];
      html << "<li><span class=\"where\" title=\"";
      html.text(p.path) << "\"><bdi>";
      html.text(short_path(p.path)) << "</bdi> <span class=\"muted\">bytes ";
      html.count(p.start) << "\u2013";
      html.count(p.end) << ", score ";
      html.number(p.score, 3) << "</span>";
      for (const std::size_t config : configs) {
        const auto& cited = question.rows.at(config).cited;
        for (const QaCitation& c : cited) {
          if (c.n != i + 1) continue;
          html << " <span class=\"cited\">" << config_chip(config + 1) << "cites ";
          html.count(c.start) << "\u2013";
          html.count(c.end) << "</span>";
        }
      }
      html << "</span><span class=\"passage\">";
      user_text(html, p.text);
      html << "</span></li>\n";
    }
    html << "</ol>\n";
  }
}

void one_question(Markup& html, const ReportQuestion& question) {
  html << "<details class=\"question\"><summary><span class=\"tag\">";
  html.text(question.id) << "</span> ";
  question.question.empty() ? html << "<em class=\"muted\">(the run file does not hold the question; see --questions)</em>" : html << "";
  user_text(html, question.question);
  html << " <span class=\"muted why\">";
  html.text(question.why) << "</span></summary>\n<p class=\"gold\"><span class=\"muted\">gold</span> ";
  if (question.gold.empty()) html << "<em class=\"muted\">none known</em>";
  for (std::size_t i = 0; i < question.gold.size(); ++i) {
    if (i > 0) html << " <span class=\"muted\">or</span> ";
    user_text(html, question.gold[i]);
  }
  html << "</p>\n";
  answers(html, question);
  passages(html, question);
  html << "</details>\n";
}

}  // namespace

Markup questions_html(const Report& report) {
  Markup html;
  if (!report.worst.empty()) {
    html << "<section id=\"worst\"><h2>Worst questions</h2><p class=\"note\">The lowest F1 under " << config_chip(*report.best + 1);
    html.text(report.configs[*report.best].all.config) << ", which has the highest on average.</p>\n";
    for (const ReportQuestion& question : report.worst) one_question(html, question);
    html << "</section>\n";
  }
  if (!report.flipped.empty()) {
    html << "<section id=\"flipped\"><h2>Questions that reuse decided</h2><p class=\"note\">Right under one of the fastest policy and its "
            "reference, wrong under the other; what got lost comes first.</p>\n";
    for (const ReportQuestion& question : report.flipped) one_question(html, question);
    html << "</section>\n";
  }
  return html;
}

}  // namespace gritstone
