#include "model/tokenizer/added_tokens.h"

#include <unicode/uchar.h>

#include <algorithm>

#include "base/utf8.h"
#include "model/tokenizer/char_class.h"

namespace gritstone {
namespace {

// \w as Rust's regex crate reads it.
bool is_word_char(char32_t code_point) noexcept {
  const auto c = static_cast<UChar32>(code_point);
  return u_hasBinaryProperty(c, UCHAR_ALPHABETIC) || (U_MASK(u_charType(c)) & (U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK)) != 0 ||
         u_hasBinaryProperty(c, UCHAR_JOIN_CONTROL);
}

// Offset of the last character of text[0, end). REQUIRES: end > 0.
std::size_t previous_character(std::string_view text, std::size_t end) noexcept {
  for (std::size_t length = 2; length <= 4 && length <= end; ++length) {
    const Utf8Decoded decoded = decode_utf8(text.substr(0, end), end - length);
    if (decoded.valid && decoded.length == length) return end - length;
  }
  return end - 1;
}

bool word_char_before(std::string_view text, std::size_t at) noexcept {
  if (at == 0) return false;
  const Utf8Decoded decoded = decode_utf8(text, previous_character(text, at));
  return decoded.valid && is_word_char(decoded.code_point);
}

bool word_char_at(std::string_view text, std::size_t at) noexcept {
  if (at >= text.size()) return false;
  const Utf8Decoded decoded = decode_utf8(text, at);
  return decoded.valid && is_word_char(decoded.code_point);
}

}  // namespace

void AddedTokens::add(std::string_view text, TokenId id, const VocabToken& flags) {
  entries_.push_back({std::string(text), id, flags.lstrip, flags.rstrip, flags.single_word});
}

void AddedTokens::finish() {
  std::stable_sort(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) { return a.text < b.text; });
  for (const Entry& entry : entries_) begins_[static_cast<std::uint8_t>(entry.text.front())] = true;
}

const AddedTokens::Entry* AddedTokens::longest_at(std::string_view text, std::size_t at) const noexcept {
  // Narrows the sorted entries to those that share one more byte with the text; an entry that ends here sorts first in its range.
  const Entry* longest = nullptr;
  auto low = entries_.begin();
  auto high = entries_.end();
  for (std::size_t depth = 0; low != high; ++depth) {
    if (low->text.size() == depth) {
      longest = &*low;
      while (low != high && low->text.size() == depth) ++low;
    }
    if (low == high || at + depth >= text.size()) break;
    const auto byte = static_cast<std::uint8_t>(text[at + depth]);
    const auto byte_at = [depth](const Entry& entry) { return static_cast<std::uint8_t>(entry.text[depth]); };
    low = std::partition_point(low, high, [&](const Entry& entry) { return byte_at(entry) < byte; });
    high = std::partition_point(low, high, [&](const Entry& entry) { return byte_at(entry) == byte; });
  }
  return longest;
}

std::optional<AddedTokens::Match> AddedTokens::find(std::string_view text, std::size_t from, std::size_t used) const noexcept {
  if (entries_.empty()) return std::nullopt;
  for (std::size_t at = from; at < text.size(); ++at) {
    if (!begins_[static_cast<std::uint8_t>(text[at])]) continue;
    const Entry* entry = longest_at(text, at);
    if (entry == nullptr) continue;
    Match match{at, at + entry->text.size(), at + entry->text.size(), entry->id};
    if (entry->single_word && (word_char_before(text, match.begin) || word_char_at(text, match.end))) {
      at = match.end - 1;  // Hugging Face goes on behind a match that it discards
      continue;
    }
    while (entry->lstrip && match.begin > used) {
      const std::size_t before = previous_character(text, match.begin);
      if (before < used || classify(text, before).kind != CharClass::kSpace) break;
      match.begin = before;
    }
    while (entry->rstrip && match.end < text.size()) {
      const ClassifiedChar c = classify(text, match.end);
      if (c.kind != CharClass::kSpace) break;
      match.end += c.length;
    }
    return match;
  }
  return std::nullopt;
}

}  // namespace gritstone
