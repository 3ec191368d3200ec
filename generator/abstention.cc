#include "generator/abstention.h"

#include <algorithm>
#include <cctype>
#include <set>

#include "index/text_analysis.h"

namespace gritstone {

double question_coverage(std::string_view question, std::span<const std::string> passages, const std::string& language) {
  Analyzer analyzer(language);
  const std::vector<std::string> wanted = analyzer.query_terms(question);
  if (wanted.empty()) return 0;
  double best = 0;
  for (const std::string& passage : passages) {
    std::set<std::string, std::less<>> held;
    analyzer.terms(passage, [&](std::string_view term, std::size_t, std::size_t) {
      held.emplace(term);
      return true;
    });
    const auto found = std::count_if(wanted.begin(), wanted.end(), [&](const std::string& term) { return held.contains(term); });
    best = std::max(best, static_cast<double>(found) / static_cast<double>(wanted.size()));
  }
  return best;
}

bool lacks_support(const AbstentionSignals& signals, const AbstentionOptions& options) noexcept {
  return signals.coverage < options.min_coverage && signals.cosine < options.min_cosine;
}

bool is_refusal(std::string_view answer) {
  std::string lower(answer.substr(0, 400));
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  static constexpr std::string_view kSources[] = {"documents", "passages", "passage", "context", "text"};
  static constexpr std::string_view kVerbs[] = {" do not say",       " does not say",     " do not mention",
                                                " does not mention", " do not provide",   " does not provide",
                                                " do not contain",   " does not contain", " do not hold"};
  for (const std::string_view source : kSources) {
    for (const std::string_view verb : kVerbs) {
      if (lower.find(std::string(source) + std::string(verb)) != std::string::npos) return true;
    }
  }
  return false;
}

}  // namespace gritstone
