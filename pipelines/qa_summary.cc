// The figures of an evaluation's rows.
#include <map>
#include <string_view>

#include "pipelines/eval_qa.h"
#include "pipelines/qa_metrics.h"
#include "pipelines/statistics.h"

namespace gritstone {
namespace {

double share(std::size_t part, std::size_t whole) { return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole); }

QaSummary summarise_config(const std::string& config, const std::map<std::string, const QaRow*>& rows,
                           const std::map<std::string, const QaRow*>& reference) {
  QaSummary s;
  s.config = config;
  std::vector<double> ttft, total, kl;
  double em = 0, f1 = 0;
  std::size_t contained = 0, abstained = 0, falsely = 0, hits = 0, cited = 0, citations = 0, citations_ok = 0, prompt = 0, reused = 0;
  std::size_t same_top = 0;
  for (const auto& [id, row] : rows) {
    if (!row->error.empty()) {
      ++s.failed;
      continue;
    }
    ++s.questions;
    for (const auto& [stage, ms] : row->stages) s.stages_mean[stage] += ms;
    prompt += row->prompt_tokens;
    reused += row->reused_tokens;
    if (row->completion_tokens > 0) ttft.push_back(row->ttft_ms);
    total.push_back(row->total_ms);
    if (row->budget_ms > 0 && row->completion_tokens > 0) {
      ++s.budgeted;
      s.fitted += row->budget_fits ? 1 : 0;
      s.kept += row->budget_fits && row->ttft_ms <= row->budget_ms ? 1 : 0;
      s.nearly_kept += row->budget_fits && row->ttft_ms <= 1.15 * row->budget_ms ? 1 : 0;
    }
    if (row->answerable) {
      ++s.answerable;
      em += row->exact_match;
      f1 += row->f1;
      contained += row->contained ? 1 : 0;
      falsely += row->abstained ? 1 : 0;
      hits += row->hit ? 1 : 0;
      cited += row->citations_ok > 0 ? 1 : 0;
      citations += row->citations;
      citations_ok += row->citations_ok;
    } else {
      abstained += row->abstained ? 1 : 0;
    }
    const auto it = reference.find(id);
    if (it == reference.end() || !it->second->error.empty()) continue;
    ++s.compared;
    const bool same = row->fingerprint == it->second->fingerprint;
    s.same_tokens += same ? 1 : 0;
    if (it->second->completion_tokens >= 16) {
      ++s.of_16;
      s.same_tokens_of_16 += same ? 1 : 0;
    }
    s.flipped += normalise_answer(row->answer) == normalise_answer(it->second->answer) ? 0 : 1;
    if (it->second->answerable && it->second->contained) {
      ++s.reference_right;
      s.stayed_right += row->contained ? 1 : 0;
    }
    kl.insert(kl.end(), row->kl.begin(), row->kl.end());
    same_top += row->same_top;
  }
  const auto answerable = static_cast<double>(s.answerable);
  if (s.answerable > 0) {
    s.exact_match = em / answerable;
    s.f1 = f1 / answerable;
  }
  s.contained = share(contained, s.answerable);
  s.abstention = share(abstained, s.questions - s.answerable);
  s.false_abstention = share(falsely, s.answerable);
  s.abstention_precision = share(abstained, abstained + falsely);
  s.hit_rate = share(hits, s.answerable);
  s.citation_precision = share(citations_ok, citations);
  s.citation_recall = share(cited, s.answerable);
  s.ttft_ms_median = quantile(ttft, 0.5);
  s.total_ms_median = quantile(total, 0.5);
  s.reused_share = share(reused, prompt);
  for (auto& [stage, ms] : s.stages_mean) ms /= static_cast<double>(s.questions);
  s.stayed_right_lower = lower_bound_95(s.stayed_right, s.reference_right);
  s.kl_tokens = kl.size();
  s.kl_mean = mean_of(kl);
  s.kl_p99 = quantile(kl, 0.99);
  s.top1_agreement = share(same_top, kl.size());
  return s;
}

std::vector<std::string> names_of(const std::vector<QaConfig>& grid) {
  std::vector<std::string> names;
  for (const QaConfig& config : grid) names.push_back(config.name());
  return names;
}

}  // namespace

QaConfigName parse_config_name(std::string_view name) {
  QaConfigName parsed;
  for (std::size_t at = name.find("/k"); at != std::string_view::npos; at = name.find("/k", at + 1)) {
    if (at + 2 >= name.size() || name[at + 2] < '0' || name[at + 2] > '9') continue;
    parsed.rest = name.substr(at + 1);
    name = name.substr(0, at);
    if (const std::size_t plus = name.find('+'); plus != std::string_view::npos) {
      parsed.retrieval = name.substr(0, plus);
      name.remove_prefix(plus + 1);
    }
    break;
  }
  parsed.policy = name;
  return parsed;
}

std::size_t reference_of(const std::vector<std::string>& configs, std::size_t config) {
  const QaConfigName of = parse_config_name(configs[config]);
  for (const char* policy : {"none", "exact"}) {
    for (std::size_t i = 0; i < configs.size(); ++i) {
      const QaConfigName other = parse_config_name(configs[i]);
      if (other.policy == policy && other.retrieval == of.retrieval && other.rest == of.rest) return i;
    }
  }
  return config;
}

std::size_t reference_of(const std::vector<QaConfig>& grid, std::size_t config) { return reference_of(names_of(grid), config); }

std::vector<QaSummary> summarise(const std::vector<QaRow>& rows, const std::vector<std::string>& configs, const std::string& kind) {
  std::map<std::string, std::map<std::string, const QaRow*>> by_config;
  for (const QaRow& row : rows) {
    if (kind.empty() || row.kind == kind) by_config[row.config][row.id] = &row;
  }
  std::vector<QaSummary> summaries;
  for (std::size_t c = 0; c < configs.size(); ++c) {
    const std::size_t r = reference_of(configs, c);
    summaries.push_back(
        summarise_config(configs[c], by_config[configs[c]], r == c ? std::map<std::string, const QaRow*>{} : by_config[configs[r]]));
  }
  return summaries;
}

std::vector<QaSummary> summarise(const std::vector<QaRow>& rows, const std::vector<QaConfig>& grid, const std::string& kind) {
  return summarise(rows, names_of(grid), kind);
}

}  // namespace gritstone
