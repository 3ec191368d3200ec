// Text -> search terms: the one analysis that indexing and querying share.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace gritstone {

// Cuts at ICU word boundaries (dictionaries for Chinese, Japanese, Thai, ...), folds case and compatibility forms (NFKC_Casefold), drops
// diacritics ("café" finds "cafe"), splits at underscores and stems with Snowball. Numbers are kept. Not thread-safe: one per connection.
class Analyzer {
 public:
  // language: a Snowball algorithm ("english", "german", ...) or "none". Throws Error(kInvalidArgument) for an unknown one.
  explicit Analyzer(const std::string& language);
  ~Analyzer();

  // One term and the bytes of the text it stands for. `term` is valid during the call. Return false to stop.
  using Visitor = std::function<bool(std::string_view term, std::size_t start, std::size_t end)>;
  // text: any bytes; malformed UTF-8 counts as a boundary. Text of any length is taken in windows, so memory stays bounded.
  void terms(std::string_view text, const Visitor& visit);

  // Distinct terms of a question in order of first occurrence, without stop words unless nothing else is left; at most `limit`.
  std::vector<std::string> query_terms(std::string_view query, std::size_t limit = 256);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

bool is_known_language(std::string_view language) noexcept;

// Analyzers by language, opened on first use. Not thread-safe.
class AnalyzerCache {
 public:
  Analyzer& get(const std::string& language);

 private:
  std::map<std::string, std::unique_ptr<Analyzer>> analyzers_;
};

}  // namespace gritstone
