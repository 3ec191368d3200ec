#include "pipelines/retrieval_metrics.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <sstream>

#include "base/checked_file.h"
#include "base/error.h"
#include "base/hash.h"

namespace gritstone {
namespace {

constexpr std::uint64_t kMaxFileBytes = std::uint64_t{1} << 30;

RetrievalMetrics score_query(const std::map<std::string, int>& judged, std::vector<RunEntry> ranking) {
  std::sort(ranking.begin(), ranking.end(),
            [](const RunEntry& a, const RunEntry& b) { return a.score != b.score ? a.score > b.score : a.document > b.document; });
  std::vector<double> ideal;
  for (const auto& [document, relevance] : judged) {
    if (relevance > 0) ideal.push_back(relevance);
  }
  std::sort(ideal.rbegin(), ideal.rend());
  const auto relevant = static_cast<double>(ideal.size());
  RetrievalMetrics m;
  double dcg = 0;
  double found = 0;
  for (std::size_t i = 0; i < ranking.size(); ++i) {
    const auto it = judged.find(ranking[i].document);
    if (it == judged.end() || it->second <= 0) continue;
    const auto rank = static_cast<double>(i + 1);
    found += 1;
    if (m.rr == 0) m.rr = 1 / rank;
    m.map += found / rank;
    if (i < 5) m.p_at_5 += 1.0 / 5;
    if (i < 10) dcg += it->second / std::log2(rank + 1);
    if (i < 100) m.recall_at_100 += 1 / relevant;
  }
  double best = 0;
  for (std::size_t i = 0; i < ideal.size() && i < 10; ++i) best += ideal[i] / std::log2(static_cast<double>(i) + 2);
  m.ndcg_at_10 = dcg / best;
  m.map /= relevant;
  return m;
}

[[noreturn]] void bad_line(const std::filesystem::path& path, std::size_t line, const std::string& why) {
  throw Error(ErrorCode::kInvalidArgument, path.string() + ", line " + std::to_string(line) + ": " + why);
}

// Calls visit(fields, line number) for every line that is not blank.
template <typename Visit>
void for_each_line(const std::filesystem::path& path, Visit visit) {
  const std::string text = read_file(path, kMaxFileBytes);
  std::size_t number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    ++number;
    std::istringstream line(text.substr(begin, end - begin));
    std::vector<std::string> fields;
    for (std::string field; line >> field;) fields.push_back(std::move(field));
    if (!fields.empty()) visit(fields, number);
    begin = end + 1;
  }
}

template <typename Number>
bool parse_number(const std::string& text, Number& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

RunScore score_run(const Judgements& judgements, const TrecRun& run) {
  RunScore score;
  for (const auto& [query, judged] : judgements) {
    if (std::none_of(judged.begin(), judged.end(), [](const auto& j) { return j.second > 0; })) continue;
    const auto found = run.find(query);
    RetrievalMetrics& m = score.per_query[query];
    if (found != run.end()) m = score_query(judged, found->second);
    score.mean.ndcg_at_10 += m.ndcg_at_10;
    score.mean.recall_at_100 += m.recall_at_100;
    score.mean.map += m.map;
    score.mean.rr += m.rr;
    score.mean.p_at_5 += m.p_at_5;
  }
  if (score.per_query.empty()) return score;
  const auto n = static_cast<double>(score.per_query.size());
  for (double* value : {&score.mean.ndcg_at_10, &score.mean.recall_at_100, &score.mean.map, &score.mean.rr, &score.mean.p_at_5})
    *value /= n;
  return score;
}

void write_trec_run(const std::filesystem::path& path, const TrecRun& run, std::string_view tag) {
  std::string text;
  char number[32];
  for (const auto& [query, entries] : run) {
    std::vector<RunEntry> ranking = entries;
    std::sort(ranking.begin(), ranking.end(),
              [](const RunEntry& a, const RunEntry& b) { return a.score != b.score ? a.score > b.score : a.document > b.document; });
    float previous = std::numeric_limits<float>::infinity();
    for (std::size_t i = 0; i < ranking.size(); ++i) {
      // trec_eval reads scores as float: equal ones would be ordered by its own rule.
      float value = static_cast<float>(ranking[i].score);
      if (value >= previous) value = std::nextafter(previous, -std::numeric_limits<float>::infinity());
      previous = value;
      std::snprintf(number, sizeof number, "%.9g", static_cast<double>(value));
      text += query + " Q0 " + ranking[i].document + ' ' + std::to_string(i + 1) + ' ' + number + ' ';
      text += tag;
      text += '\n';
    }
  }
  write_file_atomically(path, as_bytes(text));
}

TrecRun read_trec_run(const std::filesystem::path& path) {
  TrecRun run;
  for_each_line(path, [&](const std::vector<std::string>& fields, std::size_t line) {
    RunEntry entry;
    if (fields.size() != 6) bad_line(path, line, std::to_string(fields.size()) + " fields, expected \"query Q0 document rank score tag\"");
    entry.document = fields[2];
    if (!parse_number(fields[4], entry.score) || !std::isfinite(entry.score))
      bad_line(path, line, "the score \"" + fields[4] + "\" is no number");
    run[fields[0]].push_back(std::move(entry));
  });
  return run;
}

Judgements read_judgements(const std::filesystem::path& path) {
  Judgements judgements;
  for_each_line(path, [&](const std::vector<std::string>& fields, std::size_t line) {
    if (fields.size() != 3 && fields.size() != 4) {
      bad_line(path, line,
               std::to_string(fields.size()) + " fields, expected \"query document relevance\" or \"query 0 document relevance\"");
    }
    int relevance = 0;
    if (!parse_number(fields.back(), relevance)) {
      if (line == 1) return;  // BEIR's header
      bad_line(path, line, "the relevance \"" + fields.back() + "\" is no integer");
    }
    judgements[fields[0]][fields[fields.size() - 2]] = relevance;
  });
  return judgements;
}

}  // namespace gritstone
