// The sentences at the head of the report. Each is made of figures with their intervals; a difference is called one only where its interval
// leaves zero out and its corrected p-value is below 0.05.
#include <algorithm>

#include "pipelines/report.h"
#include "pipelines/report_text.h"

namespace gritstone {
namespace {

const PairedComparison* difference(const Report& report, std::size_t config, std::string_view metric) {
  for (const ReportDifference& d : report.differences) {
    if (d.config == config && d.figures.metric == metric) return &d.figures;
  }
  return nullptr;
}

bool is_shown(const PairedComparison& c) { return (c.lower > 0 || c.upper < 0) && c.p_holm < 0.05; }

std::string change_of(const PairedComparison& c, const std::string& name) {
  const std::string figures = signed_fixed(c.difference, 3) + " [" + signed_fixed(c.lower, 3) + ", " + signed_fixed(c.upper, 3) + "]";
  if (is_shown(c)) return name + " is " + (c.difference > 0 ? "higher" : "lower") + ": " + figures;
  return name + " differs by " + figures + ", which " + plural(c.n, "question", "questions") +
         " cannot tell from no difference (less than " + fixed(c.detectable, 3) + " would mostly have gone unseen)";
}

std::string best_sentence(const Report& report) {
  const ReportConfig& best = report.configs[*report.best];
  const std::string figures = fixed(best.f1.value, 3) + " " + range_text(best.f1.lower, best.f1.upper, 3) + ", and a gold answer in " +
                              percent(best.right.value) + " of its answers [" + percent(best.right.lower) + ", " +
                              percent(best.right.upper) + "]";
  const std::string asked = plural(best.all.answerable, "answerable question", "answerable questions");
  if (report.configs.size() == 1) return best.all.config + ", asked " + asked + ", has F1 " + figures + ".";
  // Overlap says little about pairs, so this claims no more than what it shows.
  std::size_t ties = 0;
  for (const ReportConfig& c : report.configs) ties += c.all.answerable > 0 && c.f1.upper >= best.f1.lower && &c != &best ? 1 : 0;
  std::string text = std::string("Of ") + plural(report.configs.size(), "config", "configs") + " asked " + asked + ", " + best.all.config +
                     " has the highest F1, " + figures;
  if (ties > 0)
    text += std::string("; ") + plural(ties, "other config's interval overlaps", "other configs' intervals overlap") + " with it";
  return text + ".";
}

std::string reuse_sentence(const Report& report) {
  const std::size_t fast = *report.fast;
  const ReportConfig& reference = report.configs[report.configs[fast].compared_with];
  std::string text = report.configs[fast].all.config + " beside " + reference.all.config + ": ";
  if (const PairedComparison* ttft = difference(report, fast, "ttft_ms")) {
    const double share = ttft->mean_a > 0 ? std::abs(ttft->difference) / ttft->mean_a : 0;
    const double low = std::min(std::abs(ttft->lower), std::abs(ttft->upper)),
                 high = std::max(std::abs(ttft->lower), std::abs(ttft->upper));
    if (is_shown(*ttft)) {
      text += "the first token comes " + milliseconds(std::abs(ttft->difference)) + " ms " + (ttft->difference < 0 ? "earlier" : "later") +
              " on average [" + milliseconds(low) + ", " + milliseconds(high) + "], " + percent(share) + " of the reference's " +
              milliseconds(ttft->mean_a) + " ms";
    } else {
      text += "no difference of the time to the first token is shown (" + signed_fixed(ttft->difference, 0) + " ms [" +
              signed_fixed(ttft->lower, 0) + ", " + signed_fixed(ttft->upper, 0) + "])";
    }
    text += "; ";
  }
  if (const PairedComparison* f1 = difference(report, fast, "f1")) text += change_of(*f1, "F1");
  return text + ".";
}

// Other ways to find passages, each with the reference policy, beside the first one.
std::vector<std::string> baseline_sentences(const Report& report) {
  std::vector<std::string> sentences;
  const std::string main = parse_config_name(report.configs[0].all.config).retrieval;
  std::string last = main;
  for (std::size_t c = 0; c < report.configs.size(); ++c) {
    const std::string retrieval = parse_config_name(report.configs[c].all.config).retrieval;
    const std::size_t against = report.configs[c].compared_with;
    if (retrieval == main || retrieval == last || parse_config_name(report.configs[against].all.config).retrieval != main) continue;
    last = retrieval;
    if (const PairedComparison* f1 = difference(report, c, "f1")) {
      sentences.push_back(report.configs[c].all.config + " beside " + report.configs[against].all.config +
                          ", same generator: " + change_of(*f1, "F1") + ".");
    }
  }
  return sentences;
}

std::string latency_sentence(const ReportLatency& latency) {
  const LatencySummary& s = latency.summary;
  std::string text = latency.label + ": " + plural(s.requests, "request", "requests");
  if (s.failed > 0) text += ", " + count_text(s.failed) + " failed";
  for (const Percentile& p : s.ttft_ms.percentiles) {
    if (p.share != 0.5 && p.share != 0.95) continue;
    text += (p.share == 0.5 ? "; first token after " : ", ") + milliseconds(p.value) + " ms " + range_text(p.lower, p.upper, 0) +
            (p.share == 0.5 ? " at the median" : " at p95");
  }
  return text + ".";
}

}  // namespace

std::vector<std::string> report_findings(const Report& report) {
  std::vector<std::string> sentences;
  if (report.best) sentences.push_back(best_sentence(report));
  if (report.fast) sentences.push_back(reuse_sentence(report));
  if (!report.configs.empty()) {
    for (std::string& sentence : baseline_sentences(report)) sentences.push_back(std::move(sentence));
  }
  const auto ndcg = [](const ReportRetrieval& r) { return r.metrics.contains("ndcg@10") ? r.metrics.at("ndcg@10") : -1; };
  if (const auto best = std::ranges::max_element(report.retrieval, {}, ndcg); best != report.retrieval.end() && ndcg(*best) >= 0) {
    std::string text = best->label + " has nDCG@10 " + fixed(ndcg(*best), 4) + " over " + plural(best->queries, "query", "queries");
    if (report.retrieval.size() > 1)
      text = std::string("Of ") + plural(report.retrieval.size(), "ranking", "rankings") + ", " + text + ", the highest";
    sentences.push_back(text + ".");
  }
  for (const ReportLatency& latency : report.latency) sentences.push_back(latency_sentence(latency));
  std::size_t failed = 0;
  for (const ReportConfig& c : report.configs) failed += c.all.failed;
  if (failed > 0)
    sentences.push_back(std::string("In no figure: ") + plural(failed, "answer that failed", "answers that failed") + "; see Failures.");
  return sentences;
}

}  // namespace gritstone
