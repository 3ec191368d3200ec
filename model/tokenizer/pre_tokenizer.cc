#include "model/tokenizer/pre_tokenizer.h"

#include "base/error.h"
#include "model/tokenizer/char_class.h"

namespace gritstone {
namespace {

// Position after the longest run of `kind` from `at`.
std::size_t run_end(std::string_view text, std::size_t at, CharClass kind) noexcept {
  while (at < text.size()) {
    const ClassifiedChar c = classify(text, at);
    if (c.kind != kind) break;
    at += c.length;
  }
  return at;
}

char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

// Bytes of a contraction ('s 't 're 've 'm 'll 'd) at text[at], 0 if there is none. With any_case as in (?i:...), where Unicode case
// folding lets U+017F (long s, two bytes) stand for s.
std::size_t contraction(std::string_view text, std::size_t at, bool any_case) noexcept {
  if (text[at] != '\'' || at + 1 >= text.size()) return 0;
  const auto letter = [&](std::size_t i) { return at + i >= text.size() ? '\0' : any_case ? lower(text[at + i]) : text[at + i]; };
  const char first = letter(1);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
  const char second = letter(2);
  if ((first == 'r' && second == 'e') || (first == 'v' && second == 'e') || (first == 'l' && second == 'l')) return 3;
  if (any_case && text.substr(at + 1, 2) == "\xC5\xBF") return 3;
  return 0;
}

// \s+(?!\S)|\s+ from `at`: the whole run at the end of the text, else all but its last character, else that one.
std::size_t space_word(std::string_view text, std::size_t at) noexcept {
  std::size_t end = at;
  std::size_t last = at;
  while (end < text.size()) {
    const ClassifiedChar c = classify(text, end);
    if (c.kind != CharClass::kSpace) break;
    last = end;
    end += c.length;
  }
  if (end == text.size() || last == at) return end - at;
  return last - at;
}

// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
std::size_t gpt2_word(std::string_view text, std::size_t at) noexcept {
  if (const std::size_t length = contraction(text, at, false); length != 0) return length;
  std::size_t begin = at;
  ClassifiedChar c = classify(text, at);
  if (c.code_point == ' ' && at + 1 < text.size()) {
    begin = at + 1;
    c = classify(text, begin);
    if (c.kind == CharClass::kSpace) return space_word(text, at);
  } else if (c.kind == CharClass::kSpace) {
    return space_word(text, at);
  }
  return run_end(text, begin + c.length, c.kind) - at;
}

// Digits are cut out first, so a run of spaces before one ends where the stretch ends: it is not left for the digit.
std::size_t smollm_word(std::string_view text, std::size_t at) noexcept {
  const ClassifiedChar c = classify(text, at);
  if (c.kind == CharClass::kNumber) return c.length;
  if (c.kind == CharClass::kSpace) {
    const std::size_t end = run_end(text, at, CharClass::kSpace);
    if (end < text.size() && classify(text, end).kind == CharClass::kNumber) return end - at;
  }
  return gpt2_word(text, at);
}

bool is_line_break(char c) noexcept { return c == '\r' || c == '\n'; }

// \s*[\r\n]+ from `at`: through the last line break of the run of white space; 0 if it holds none.
std::size_t spaces_to_line_break(std::string_view text, std::size_t at) noexcept {
  std::size_t after_break = at;
  for (std::size_t i = at; i < text.size();) {
    const ClassifiedChar c = classify(text, i);
    if (c.kind != CharClass::kSpace) break;
    i += c.length;
    if (is_line_break(static_cast<char>(c.code_point)) && c.length == 1) after_break = i;
  }
  return after_break - at;
}

// (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
std::size_t llama3_word(std::string_view text, std::size_t at, std::size_t max_digits) noexcept {
  if (const std::size_t length = contraction(text, at, true); length != 0) return length;
  const ClassifiedChar c = classify(text, at);
  if (c.kind == CharClass::kLetter) return run_end(text, at, CharClass::kLetter) - at;
  const std::size_t next = at + c.length;
  if (c.kind == CharClass::kNumber) {
    std::size_t end = next;
    for (std::size_t digits = 1; digits < max_digits && end < text.size(); ++digits) {
      const ClassifiedChar digit = classify(text, end);
      if (digit.kind != CharClass::kNumber) break;
      end += digit.length;
    }
    return end - at;
  }
  const ClassifiedChar following = next < text.size() ? classify(text, next) : ClassifiedChar{0, 0, CharClass::kSpace};
  const bool line_break = c.length == 1 && is_line_break(text[at]);
  if (!line_break && next < text.size() && following.kind == CharClass::kLetter) return run_end(text, next, CharClass::kLetter) - at;
  if (c.kind == CharClass::kOther || (c.code_point == ' ' && next < text.size() && following.kind == CharClass::kOther)) {
    std::size_t end = run_end(text, c.kind == CharClass::kOther ? at : next, CharClass::kOther);
    while (end < text.size() && is_line_break(text[end])) ++end;
    return end - at;
  }
  if (const std::size_t length = spaces_to_line_break(text, at); length != 0) return length;
  return space_word(text, at);
}

}  // namespace

std::size_t next_word(PreTokenizer kind, std::string_view text, std::size_t offset) noexcept {
  switch (kind) {
    case PreTokenizer::kWhole:
      return text.size() - offset;
    case PreTokenizer::kGpt2:
      return gpt2_word(text, offset);
    case PreTokenizer::kSmolLm:
      return smollm_word(text, offset);
    case PreTokenizer::kLlama3:
      return llama3_word(text, offset, 3);
    case PreTokenizer::kQwen2:
      return llama3_word(text, offset, 1);
  }
  GS_CHECK(false);
}

}  // namespace gritstone
