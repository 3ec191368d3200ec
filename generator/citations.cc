#include "generator/citations.h"

#include <algorithm>
#include <set>

#include "generator/sentences.h"
#include "index/text_analysis.h"

namespace gritstone {
namespace {

using Terms = std::set<std::string>;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Models write "3" where the passage says "three", and the other way round. Keys are stems. "One" is more often a pronoun.
std::string_view digits_of(std::string_view term) {
  static constexpr std::string_view kNumbers[] = {"two",   "three", "four", "five",   "six",  "seven",
                                                  "eight", "nine",  "ten",  "eleven", "twelv"};
  static constexpr std::string_view kDigits[] = {"2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"};
  for (std::size_t i = 0; i < std::size(kNumbers); ++i) {
    if (term == kNumbers[i]) return kDigits[i];
  }
  return term;
}

// Words about the answer rather than in it ("Yes.", "The answer is ...", "According to passage 2 ..."), as stems.
bool is_scaffold(std::string_view term) {
  static constexpr std::string_view kScaffold[] = {"answer", "question", "passag", "document", "accord", "context", "yes", "no"};
  return std::find(std::begin(kScaffold), std::end(kScaffold), term) != std::end(kScaffold);
}

Terms terms_of(Analyzer& analyzer, std::string_view text) {
  Terms terms;
  for (const std::string& term : analyzer.query_terms(text, 4096)) {
    if (is_scaffold(term)) continue;
    std::string key(digits_of(term));
    if (is_digit(key[0])) std::erase(key, ',');  // "2,000" and "2000"
    terms.insert(std::move(key));
  }
  return terms;
}

double share(const Terms& wanted, const Terms& held) {
  if (wanted.empty()) return 0;
  const auto found = std::count_if(wanted.begin(), wanted.end(), [&](const std::string& term) { return held.contains(term); });
  return static_cast<double>(found) / static_cast<double>(wanted.size());
}

// The share of the wanted terms that are held, but 0 if a number is not: a sentence with another figure says something else, however alike.
double overlap(const Terms& wanted, const Terms& held) {
  for (const std::string& term : wanted) {
    if (is_digit(term[0]) && !held.contains(term)) return 0;
  }
  return share(wanted, held);
}

// "[1]", "[1, 2]", "[1,2]" at text[at]: the numbers and the length; length 0 if it is something else.
std::size_t parse_marker(std::string_view text, std::size_t at, std::vector<std::size_t>& numbers) {
  std::size_t i = at + 1;
  numbers.clear();
  while (i < text.size()) {
    std::size_t value = 0;
    const std::size_t first = i;
    while (i < text.size() && is_digit(text[i]) && i - first < 4) value = value * 10 + static_cast<std::size_t>(text[i++] - '0');
    if (i == first) return 0;
    numbers.push_back(value);
    while (i < text.size() && text[i] == ' ') ++i;
    if (i < text.size() && text[i] == ']') return i + 1 - at;
    if (i == text.size() || text[i] != ',') return 0;
    ++i;
    while (i < text.size() && text[i] == ' ') ++i;
  }
  return 0;
}

struct Marker {
  std::size_t offset = 0;  // in the text without markers
  std::size_t number = 0;
};

// Text without markers (and the blanks before them).
std::string strip_markers(std::string_view answer, std::vector<Marker>& markers) {
  std::string plain;
  std::vector<std::size_t> numbers;
  for (std::size_t i = 0; i < answer.size();) {
    const std::size_t length = answer[i] == '[' ? parse_marker(answer, i, numbers) : 0;
    if (length == 0) {
      plain += answer[i++];
      continue;
    }
    while (!plain.empty() && plain.back() == ' ') plain.pop_back();
    for (const std::size_t number : numbers) markers.push_back({plain.size(), number});
    i += length;
    // "Yes [1] it is" keeps one blank; "Yes [1]." none.
    if (plain.empty()) {
      while (i < answer.size() && answer[i] == ' ') ++i;
    }
  }
  while (!plain.empty() && (plain.back() == ' ' || plain.back() == '\n')) plain.pop_back();
  return plain;
}

struct PassageTerms {
  Terms all;
  std::vector<ByteSpan> sentences;
  std::vector<Terms> sentence_terms;
};

class Citer {
 public:
  Citer(std::string_view question, std::span<const GroundPassage> passages, const std::string& language, const SourceSpanOf& source_span)
      : analyzer_(language), passages_(passages), source_span_(source_span), question_(terms_of(analyzer_, question)) {
    for (const GroundPassage& passage : passages) {
      PassageTerms terms;
      terms.all = terms_of(analyzer_, passage.heading + "\n" + passage.text);
      terms.sentences = sentences_of(passage.text);
      for (const ByteSpan& s : terms.sentences) {
        terms.sentence_terms.push_back(terms_of(analyzer_, std::string_view(passage.text).substr(s.start, s.end - s.start)));
      }
      terms_.push_back(std::move(terms));
    }
  }

  // Passage indexes for a sentence, best first, with their strength.
  std::vector<std::pair<std::size_t, double>> supporters(std::string_view sentence, const std::vector<std::size_t>& named) {
    const Terms wanted = wanted_by(sentence);
    std::vector<std::pair<std::size_t, double>> result;
    for (const std::size_t number : named) {
      if (number < 1 || number > passages_.size() || result.size() == kMaxCitationsPerSentence) continue;
      const std::size_t p = number - 1;
      const bool seen = std::any_of(result.begin(), result.end(), [&](const auto& r) { return r.first == p; });
      const double strength = overlap(wanted, terms_[p].all);
      if (!seen && strength >= kMinOverlapNamed) result.emplace_back(p, strength);
    }
    if (!result.empty()) return result;
    // A short answer ("1889.") is in many passages: the one that also speaks of the question is its source.
    double best = -1;
    for (std::size_t p = 0; p < passages_.size(); ++p) {
      const double strength = overlap(wanted, terms_[p].all);
      const double score = strength + 0.5 * share(question_, terms_[p].all);
      if (strength < kMinOverlapChosen || score <= best) continue;
      best = score;
      result.assign(1, {p, strength});
    }
    return result;
  }

  Citation citation(std::string_view sentence, std::size_t p, double strength) {
    const GroundPassage& passage = passages_[p];
    const Terms wanted = wanted_by(sentence);
    ByteSpan quote{0, passage.text.size()};
    double best = -1;
    for (std::size_t i = 0; i < terms_[p].sentences.size(); ++i) {
      const double score = share(wanted, terms_[p].sentence_terms[i]) + 0.5 * share(question_, terms_[p].sentence_terms[i]);
      if (score <= best) continue;
      best = score;
      quote = terms_[p].sentences[i];
    }
    const ByteSpan source = source_span_(p, quote.start, quote.end);
    return {p + 1,
            passage.path,
            passage.heading,
            passage.page,
            source.start,
            source.end,
            passage.text.substr(quote.start, quote.end - quote.start),
            strength};
  }

 private:
  // What a passage must hold to support the sentence. "Yes." says what the question said.
  Terms wanted_by(std::string_view sentence) {
    // "2. Tea" is the second item of a list, not two teas.
    std::size_t digits = 0;
    while (digits < sentence.size() && is_digit(sentence[digits])) ++digits;
    if (digits > 0 && digits <= 2 && sentence.substr(digits).starts_with(". ")) sentence.remove_prefix(digits + 2);
    Terms terms = terms_of(analyzer_, sentence);
    return terms.empty() ? question_ : terms;
  }

  Analyzer analyzer_;
  std::span<const GroundPassage> passages_;
  const SourceSpanOf& source_span_;
  Terms question_;
  std::vector<PassageTerms> terms_;
};

// Where "[n]" goes: before the closing punctuation.
std::size_t marker_position(std::string_view sentence) {
  std::size_t end = sentence.size();
  while (end > 0 && (sentence[end - 1] == '.' || sentence[end - 1] == '!' || sentence[end - 1] == '?')) --end;
  return end == 0 ? sentence.size() : end;
}

}  // namespace

GroundedAnswer cite(std::string_view answer, std::string_view question, std::span<const GroundPassage> passages,
                    const std::string& language, const SourceSpanOf& source_span) {
  GroundedAnswer result;
  std::vector<Marker> markers;
  result.plain = strip_markers(answer, markers);
  Citer citer(question, passages, language, source_span);

  const std::vector<ByteSpan> sentences = sentences_of(result.plain);
  std::size_t copied = 0;
  std::size_t next_marker = 0;
  for (std::size_t s = 0; s < sentences.size(); ++s) {
    const std::string_view sentence = std::string_view(result.plain).substr(sentences[s].start, sentences[s].end - sentences[s].start);
    // A marker belongs to the sentence that ends before it ("It is. [1] Next"), so up to the first letter of the next one.
    const std::size_t reach = s + 1 < sentences.size() ? sentences[s + 1].start : result.plain.size();
    std::vector<std::size_t> named;
    while (next_marker < markers.size() && (markers[next_marker].offset <= reach || s + 1 == sentences.size())) {
      named.push_back(markers[next_marker++].number);
    }
    AnswerSentence entry;
    std::string marks;
    for (const auto& [p, strength] : citer.supporters(sentence, named)) {
      Citation citation = citer.citation(sentence, p, strength);
      const auto same = std::find_if(result.citations.begin(), result.citations.end(), [&](const Citation& c) {
        return c.n == citation.n && c.start == citation.start && c.end == citation.end;
      });
      entry.citations.push_back(static_cast<std::size_t>(same - result.citations.begin()));
      if (same != result.citations.end()) {
        same->strength = std::max(same->strength, strength);
      } else {
        result.citations.push_back(std::move(citation));
      }
      marks += (marks.empty() ? " [" : "[") + std::to_string(p + 1) + "]";
    }
    entry.supported = !entry.citations.empty();
    result.text.append(result.plain, copied, sentences[s].start - copied);
    entry.start = result.text.size();
    const std::size_t at = marker_position(sentence);
    result.text.append(sentence.substr(0, at)).append(marks).append(sentence.substr(at));
    entry.end = result.text.size();
    copied = sentences[s].end;
    result.sentences.push_back(std::move(entry));
  }
  result.text.append(result.plain, copied, std::string::npos);
  return result;
}

}  // namespace gritstone
