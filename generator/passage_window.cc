#include "generator/passage_window.h"

#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "generator/sentences.h"
#include "index/text_analysis.h"

namespace gritstone {
namespace {

struct Sentence {
  ByteSpan span;
  std::size_t tokens = 0;
  std::set<std::size_t> terms;  // indexes into the question's
};

}  // namespace

ByteSpan passage_window(std::string_view passage, std::string_view question, std::size_t max_tokens, const TokenCounter& counter,
                        const std::string& language) {
  const ByteSpan whole{0, passage.size()};
  if (counter.count(passage) <= max_tokens) return whole;
  Analyzer analyzer(language);
  std::map<std::string, std::size_t, std::less<>> wanted;
  for (std::string& term : analyzer.query_terms(question)) wanted.emplace(std::move(term), wanted.size());
  std::vector<Sentence> sentences;
  for (const ByteSpan span : sentences_of(passage)) {
    const std::string_view text = passage.substr(span.start, span.end - span.start);
    Sentence sentence{span, counter.count(text), {}};
    analyzer.terms(text, [&](std::string_view term, std::size_t, std::size_t) {
      if (const auto it = wanted.find(term); it != wanted.end()) sentence.terms.insert(it->second);
      return true;
    });
    sentences.push_back(std::move(sentence));
  }
  if (sentences.empty()) return whole;

  // Longest window from every sentence on; of equal ones the first. What stands between sentences counts with the one in front of it: the
  // sum of the parts is close to the whole, and one token a sentence covers the rest.
  ByteSpan best = sentences.front().span;
  std::size_t most = 0;
  for (std::size_t first = 0; first < sentences.size(); ++first) {
    std::size_t tokens = 0, last = first;
    std::set<std::size_t> held;
    for (std::size_t i = first; i < sentences.size(); ++i) {
      if (i > first && tokens + sentences[i].tokens + 1 > max_tokens) break;
      tokens += sentences[i].tokens + 1;
      held.insert(sentences[i].terms.begin(), sentences[i].terms.end());
      last = i;
    }
    if (first > 0 && held.size() <= most) continue;
    most = held.size();
    best = {sentences[first].span.start, sentences[last].span.end};
  }
  return best;
}

}  // namespace gritstone
