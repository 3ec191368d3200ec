#include "index/passage_units.h"

#include <unicode/brkiter.h>
#include <unicode/utext.h>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/utf8.h"

namespace gritstone {
namespace {

// Sentences are looked for in windows, so that a 50 MB line costs linear time and little memory.
constexpr std::size_t kWindowBytes = 1 << 15;
// Prose has 3 to 5 bytes a token. A piece with more than this for each token of the limit is cut before it is counted, so that no count
// runs over megabytes.
constexpr std::size_t kMaxBytesPerToken = 16;

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t'; }

std::size_t character_start(std::string_view text, std::size_t at) {
  while (at > 0 && at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

// Where to cut text[from, ...) near `target`: behind a blank in the last quarter if there is one, else at a character.
std::size_t cut_near(std::string_view text, std::size_t from, std::size_t target) {
  if (target >= text.size()) return text.size();
  for (std::size_t i = target; i > from + (target - from) * 3 / 4; --i) {
    if (is_space(text[i - 1])) return i;
  }
  const std::size_t cut = character_start(text, target);
  return cut > from ? cut : std::min(text.size(), from + decode_utf8(text, from).length);
}

class UnitCutter {
 public:
  UnitCutter(std::string_view text, std::size_t block, const TokenCounter& counter, std::size_t max_tokens, std::vector<PassageUnit>& units)
      : text_(text), block_(block), counter_(counter), max_tokens_(max_tokens), units_(units) {}

  void sentences() {
    UErrorCode status = U_ZERO_ERROR;
    const std::unique_ptr<icu::BreakIterator> breaks(icu::BreakIterator::createSentenceInstance(icu::Locale::getRoot(), status));
    if (U_FAILURE(status)) throw Error(ErrorCode::kDevice, std::string("ICU cannot open sentence boundaries: ") + u_errorName(status));
    for (std::size_t start = 0; start < text_.size();) {
      const std::size_t end = cut_near(text_, start, start + kWindowBytes);
      window(*breaks, start, end);
      start = end;
    }
  }

  void lines() {
    for (std::size_t start = 0; start < text_.size();) {
      const std::size_t end = std::min(text_.find('\n', start), text_.size());
      add(start, end);
      start = end + 1;
    }
  }

  void whole() { add(0, text_.size()); }

 private:
  void window(icu::BreakIterator& breaks, std::size_t start, std::size_t end) {
    UErrorCode status = U_ZERO_ERROR;
    // Closed on the way out of a counter that throws, too: whoever stops the cutting of a large file does it there.
    const std::unique_ptr<UText, decltype(&utext_close)> view(
        utext_openUTF8(nullptr, text_.data() + start, static_cast<int64_t>(end - start), &status), &utext_close);
    breaks.setText(view.get(), status);
    if (U_FAILURE(status)) throw Error(ErrorCode::kDevice, std::string("ICU cannot read text: ") + u_errorName(status));
    std::int32_t from = breaks.first();
    for (std::int32_t to = breaks.next(); to != icu::BreakIterator::DONE; from = to, to = breaks.next()) {
      add(start + static_cast<std::size_t>(from), start + static_cast<std::size_t>(to));
    }
  }

  void add(std::size_t from, std::size_t to) {
    while (to > from && is_space(text_[to - 1])) --to;
    // Leading blanks of code are its indentation, but not at the beginning of a unit that is cut off from its line.
    while (from < to && text_[from] == '\n') ++from;
    if (from == to) return;
    if (to - from <= max_tokens_ * kMaxBytesPerToken) {
      const std::size_t tokens = counter_.count(text_.substr(from, to - from));
      if (tokens <= max_tokens_) return units_.push_back({block_, from, to, tokens});
    }
    split(from, to);
  }

  // Takes prefixes of at most max_tokens_, guessing their length from the density seen so far.
  void split(std::size_t from, std::size_t to) {
    double bytes_per_token = 3.0;
    while (from < to) {
      while (from < to && is_space(text_[from])) ++from;
      if (from == to) return;
      const std::string_view rest = text_.substr(0, to);
      auto length = static_cast<std::size_t>(static_cast<double>(max_tokens_) * bytes_per_token);
      for (;;) {
        const std::size_t end = cut_near(rest, from, from + std::max<std::size_t>(length, 1));
        std::size_t trimmed = end;
        while (trimmed > from && is_space(text_[trimmed - 1])) --trimmed;
        const std::size_t tokens = counter_.count(text_.substr(from, trimmed - from));
        const bool one_character = end - from <= decode_utf8(text_, from).length;
        if (tokens <= max_tokens_ || one_character) {
          units_.push_back({block_, from, trimmed, tokens});
          bytes_per_token =
              std::clamp(0.95 * static_cast<double>(trimmed - from) / static_cast<double>(std::max<std::size_t>(tokens, 1)), 0.25, 8.0);
          from = end;
          break;
        }
        length = static_cast<std::size_t>(0.9 * static_cast<double>(end - from) * static_cast<double>(max_tokens_) /
                                          static_cast<double>(tokens));
      }
    }
  }

  std::string_view text_;
  std::size_t block_;
  const TokenCounter& counter_;
  std::size_t max_tokens_;
  std::vector<PassageUnit>& units_;
};

}  // namespace

void append_units(const Document& document, std::size_t block, const TokenCounter& counter, std::size_t max_tokens,
                  std::vector<PassageUnit>& units) {
  const Block& b = document.blocks[block];
  UnitCutter cutter(b.text, block, counter, max_tokens, units);
  switch (b.kind) {
    case BlockKind::kTableRow:
      return cutter.whole();
    case BlockKind::kCode:
      return cutter.lines();
    case BlockKind::kHeading:
    case BlockKind::kParagraph:
    case BlockKind::kListItem:
      return cutter.sentences();
  }
}

}  // namespace gritstone
