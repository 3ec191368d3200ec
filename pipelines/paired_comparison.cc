#include "pipelines/paired_comparison.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "base/checked_file.h"
#include "base/error.h"
#include "base/json.h"
#include "pipelines/qa_run_file.h"
#include "pipelines/statistics.h"

namespace gritstone {
namespace {

constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 30;

[[noreturn]] void fail(const std::filesystem::path& path, const std::string& what) {
  throw Error(ErrorCode::kInvalidArgument, path.string() + ": " + what);
}

// The config named, or the only one.
template <typename Value>
const Value& choose(const std::map<std::string, Value>& by_config, const std::filesystem::path& path, const std::string& config) {
  if (config.empty() && by_config.size() == 1) return by_config.begin()->second;
  if (const auto it = by_config.find(config); it != by_config.end()) return it->second;
  std::string names;
  for (const auto& [name, value] : by_config) names += (names.empty() ? "" : ", ") + name;
  fail(path, (config.empty() ? "it holds several configs, name one: " : "there is no config \"" + config + "\", only: ") + names);
}

QuestionFigures of_retrieval(const rapidjson::Value& json, const std::filesystem::path& path) {
  QuestionFigures figures;
  if (!json["per_query"].IsObject()) fail(path, "\"per_query\" is no object");
  for (const auto& query : json["per_query"].GetObject()) {
    if (!query.value.IsObject()) fail(path, "\"per_query\" holds something that is no object");
    for (const auto& metric : query.value.GetObject()) {
      if (metric.value.IsNumber()) figures[metric.name.GetString()][query.name.GetString()] = metric.value.GetDouble();
    }
  }
  return figures;
}

QuestionFigures of_run(const std::filesystem::path& path, const std::string& config) {
  return choose(figures_of(read_qa_run(path).rows), path, config);
}

// Uniform in [0, n), the same on every platform.
std::size_t below(std::mt19937_64& random, std::size_t n) { return static_cast<std::size_t>(random() % n); }

}  // namespace

std::map<std::string, QuestionFigures> figures_of(std::span<const QaRow> rows) {
  std::map<std::string, QuestionFigures> by_config;
  for (const QaRow& row : rows) {
    QuestionFigures& figures = by_config[row.config];
    if (!row.error.empty()) continue;
    if (row.answerable) {
      figures["em"][row.id] = row.exact_match;
      figures["f1"][row.id] = row.f1;
      figures["contained"][row.id] = row.contained ? 1 : 0;
      figures["hit"][row.id] = row.hit ? 1 : 0;
    } else {
      figures["abstained"][row.id] = row.abstained ? 1 : 0;
    }
    if (row.completion_tokens > 0) figures["ttft_ms"][row.id] = row.ttft_ms;
    figures["total_ms"][row.id] = row.total_ms;
  }
  return by_config;
}

QuestionFigures read_figures(const std::filesystem::path& path, const std::string& config) {
  const std::string text = read_file(path, kMaxBytes);
  const std::string_view first_line = std::string_view(text).substr(0, text.find('\n'));
  if (first_line.find("\"gritstone_qa_run\"") != std::string_view::npos) return of_run(path, config);
  const rapidjson::Document json = parse_json(text, path.string());
  if (json.IsObject() && json.HasMember("per_query")) return of_retrieval(json, path);
  if (json.IsObject() && json.HasMember("configs") && json["configs"].IsArray()) {
    std::map<std::string, const rapidjson::Value*> by_config;
    for (const rapidjson::Value& row : json["configs"].GetArray()) {
      const auto name = row.IsObject() ? json_string(row, "config") : std::nullopt;
      if (name && row.HasMember("per_query")) by_config[*name] = &row;
    }
    if (!by_config.empty()) return of_retrieval(*choose(by_config, path, config), path);
  }
  fail(path, "neither the JSON of `eval retrieval --json` nor a run file of `eval qa --run`");
}

std::vector<PairedComparison> compare_paired(const QuestionFigures& a, const QuestionFigures& b, const CompareOptions& options) {
  std::vector<PairedComparison> all;
  for (const auto& [metric, of_a] : a) {
    const auto found = b.find(metric);
    if (found == b.end()) continue;
    std::vector<double> differences;
    PairedComparison c;
    c.metric = metric;
    for (const auto& [question, value] : of_a) {
      const auto other = found->second.find(question);
      if (other == found->second.end()) continue;
      differences.push_back(other->second - value);
      c.mean_a += value;
      c.mean_b += other->second;
    }
    c.n = differences.size();
    if (c.n == 0) continue;
    const auto n = static_cast<double>(c.n);
    c.mean_a /= n;
    c.mean_b /= n;
    c.difference = mean_of(differences);
    double variance = 0;
    for (const double d : differences) variance += (d - c.difference) * (d - c.difference);
    if (c.n > 1) c.detectable = (1.959964 + 0.841621) * std::sqrt(variance / (n - 1) / n);
    // Seeded per metric: what is compared beside it changes nothing.
    std::mt19937_64 random(options.seed);
    std::vector<double> means(options.resamples);
    std::size_t as_large = 0;
    for (double& mean : means) {
      double sum = 0, flipped = 0;
      for (std::size_t i = 0; i < c.n; ++i) sum += differences[below(random, c.n)];
      for (const double d : differences) flipped += (random() >> 63) != 0 ? d : -d;
      mean = sum / n;
      // Sums in another order differ in the last bits.
      as_large += std::abs(flipped) >= std::abs(c.difference) * n - 1e-9 * std::abs(c.difference) * n ? 1 : 0;
    }
    c.lower = quantile(means, 0.025);
    c.upper = quantile(means, 0.975);
    c.p = static_cast<double>(as_large + 1) / static_cast<double>(options.resamples + 1);
    all.push_back(c);
  }
  if (all.empty()) throw Error(ErrorCode::kInvalidArgument, "the two share no question of any metric");
  std::vector<PairedComparison*> family;
  for (PairedComparison& c : all) family.push_back(&c);
  correct_holm(family);
  return all;
}

void correct_holm(std::span<PairedComparison* const> family) {
  std::vector<PairedComparison*> order(family.begin(), family.end());
  std::ranges::sort(order, {}, [](const PairedComparison* c) { return c->p; });
  double at_least = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    at_least = std::max(at_least, std::min(1.0, order[i]->p * static_cast<double>(order.size() - i)));
    order[i]->p_holm = at_least;
  }
}

bool smaller_is_better(const std::string& metric) { return metric.ends_with("_ms"); }

}  // namespace gritstone
