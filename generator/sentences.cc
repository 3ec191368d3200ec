#include "generator/sentences.h"

#include <unicode/ubrk.h>
#include <unicode/utext.h>

#include <memory>
#include <string>

#include "base/error.h"

namespace gritstone {
namespace {

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

// "e.g.", "Dr.", "B.": ICU's root rules break after them when a capital follows. Ends with a letter or two before the dot, or a known
// title.
bool ends_in_abbreviation(std::string_view sentence) {
  if (sentence.empty() || sentence.back() != '.') return false;
  sentence.remove_suffix(1);
  const std::size_t blank = sentence.find_last_of(" \t\n(\"");
  const std::string_view word = blank == std::string_view::npos ? sentence : sentence.substr(blank + 1);
  if (word.size() == 1 && word[0] >= 'A' && word[0] <= 'Z') return true;
  for (const std::string_view known :
       {"Dr", "Mr", "Mrs", "Ms", "Prof", "St", "No", "vs", "e.g", "i.e", "cf", "Fig", "approx", "ca", "U.S"}) {
    if (word == known) return true;
  }
  return false;
}

}  // namespace

std::vector<ByteSpan> sentences_of(std::string_view text) {
  UErrorCode status = U_ZERO_ERROR;
  const std::unique_ptr<UText, decltype(&utext_close)> utext(
      utext_openUTF8(nullptr, text.data(), static_cast<int64_t>(text.size()), &status), &utext_close);
  const std::unique_ptr<UBreakIterator, decltype(&ubrk_close)> breaks(ubrk_open(UBRK_SENTENCE, "en", nullptr, 0, &status), &ubrk_close);
  if (U_SUCCESS(status)) ubrk_setUText(breaks.get(), utext.get(), &status);
  if (U_FAILURE(status)) throw Error(ErrorCode::kDevice, std::string("ICU sentence breaks: ") + u_errorName(status));

  std::vector<ByteSpan> sentences;
  bool join = false;
  std::int32_t start = ubrk_first(breaks.get());
  for (std::int32_t end = ubrk_next(breaks.get()); end != UBRK_DONE; start = end, end = ubrk_next(breaks.get())) {
    auto from = static_cast<std::size_t>(start);
    auto to = static_cast<std::size_t>(end);
    const bool line_ends = text[to - 1] == '\n';
    while (from < to && is_blank(text[from])) ++from;
    while (to > from && is_blank(text[to - 1])) --to;
    if (from == to) continue;
    if (join) {
      sentences.back().end = to;
    } else {
      sentences.push_back({from, to});
    }
    join = !line_ends && ends_in_abbreviation(text.substr(sentences.back().start, to - sentences.back().start));
  }
  return sentences;
}

}  // namespace gritstone
