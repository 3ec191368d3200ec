#include "pipelines/trec_files.h"

#include <charconv>
#include <cmath>
#include <cstdio>
#include <limits>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "base/checked_file.h"
#include "base/error.h"
#include "base/hash.h"

namespace gritstone {
namespace {

constexpr std::uint64_t kMaxFileBytes = std::uint64_t{1} << 30;

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

// Where each (query, document) stood first, to name both lines of a duplicate.
class Seen {
 public:
  explicit Seen(const std::filesystem::path& path) : path_(path) {}
  void add(const std::string& query, const std::string& document, std::size_t line) {
    const auto [it, fresh] = lines_[query].try_emplace(document, line);
    if (fresh) return;
    bad_line(path_, line,
             "document \"" + document + "\" stands there twice for query \"" + query + "\", first in line " + std::to_string(it->second));
  }

 private:
  const std::filesystem::path& path_;
  std::map<std::string, std::map<std::string, std::size_t>> lines_;
};

void check_id(const std::filesystem::path& path, const std::string& id) {
  if (!id.empty() && id.find_first_of(" \t\r\n\v\f") == std::string::npos) return;
  throw Error(ErrorCode::kInvalidArgument,
              path.string() + ": the id \"" + id + "\" is empty or has white space, which a TREC run cannot hold");
}

}  // namespace

void write_trec_run(const std::filesystem::path& path, const TrecRun& run, std::string_view tag) {
  std::string text;
  char number[32];
  for (const auto& [query, entries] : run) {
    check_id(path, query);
    std::vector<RunEntry> ranking = entries;
    sort_ranking(ranking);
    float previous = std::numeric_limits<float>::infinity();
    for (std::size_t i = 0; i < ranking.size(); ++i) {
      check_id(path, ranking[i].document);
      auto value = static_cast<float>(ranking[i].score);
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
  Seen seen(path);
  for_each_line(path, [&](const std::vector<std::string>& fields, std::size_t line) {
    RunEntry entry;
    if (fields.size() != 6) bad_line(path, line, std::to_string(fields.size()) + " fields, expected \"query Q0 document rank score tag\"");
    entry.document = fields[2];
    if (!parse_number(fields[4], entry.score) || !std::isfinite(entry.score))
      bad_line(path, line, "the score \"" + fields[4] + "\" is no number");
    seen.add(fields[0], entry.document, line);
    run[fields[0]].push_back(std::move(entry));
  });
  return run;
}

Judgements read_judgements(const std::filesystem::path& path) {
  Judgements judgements;
  Seen seen(path);
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
    const std::string& document = fields[fields.size() - 2];
    seen.add(fields[0], document, line);
    judgements[fields[0]][document] = relevance;
  });
  if (judgements.empty()) throw Error(ErrorCode::kInvalidArgument, path.string() + ": no judgements");
  return judgements;
}

}  // namespace gritstone
