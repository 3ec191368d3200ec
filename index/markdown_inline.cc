#include "index/markdown_inline.h"

#include <algorithm>
#include <string>

#include "base/utf8.h"
#include "index/html_entities.h"

namespace gritstone {
namespace {

// A closing bracket, back-tick or ">" further away is none.
constexpr std::size_t kReach = 1024;
// Searches that found nothing may read this many times the line's length in all; then marks are plain text. Keeps 50 MB of "[" linear.
constexpr std::size_t kSearchFactor = 8;
constexpr int kMaxNesting = 4;

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool is_punctuation(char c) { return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~'); }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

class InlineCopier {
 public:
  InlineCopier(BlockBuilder& builder, std::string_view text, std::size_t length)
      : builder_(builder), text_(text), budget_(kSearchFactor * length + kReach) {}

  void copy(std::size_t from, std::size_t to, int nesting) {
    std::size_t start = from;  // of plain text not copied yet
    for (std::size_t i = from; i < to;) {
      const std::size_t next = special(i, from, to, nesting, start);
      i = next;
    }
    builder_.copy(start, to);
  }

 private:
  // Handles a construct at i; returns where to go on. `start` moves when something was consumed.
  std::size_t special(std::size_t i, std::size_t from, std::size_t to, int nesting, std::size_t& start) {
    const char c = text_[i];
    const auto consumed = [&](std::size_t end) {
      start = end;
      return end;
    };
    switch (c) {
      case '\\':
        if (i + 1 < to && is_punctuation(text_[i + 1])) {
          builder_.copy(start, i);
          builder_.copy(i + 1, i + 2);
          return consumed(i + 2);
        }
        return i + 1;
      case '`':
        return code(i, to, start);
      case '&': {
        const Entity entity = decode_entity(text_.substr(0, to), i);
        if (entity.length == 0) return i + 1;
        builder_.copy(start, i);
        std::string utf8;
        append_utf8(utf8, entity.code_point);
        builder_.put(utf8, i, i + entity.length);
        return consumed(i + entity.length);
      }
      case '<': {
        const std::size_t end = angle(i, to);
        if (end == i) return i + 1;
        builder_.copy(start, i);
        return consumed(end);
      }
      case '!':
        if (i + 1 < to && text_[i + 1] == '[') return bracket(i, i + 1, to, nesting, start);
        return i + 1;
      case '[':
        return bracket(i, i, to, nesting, start);
      case '*':
      case '_': {
        std::size_t end = i;
        while (end < to && text_[end] == c) ++end;
        if (!is_emphasis(i, end, from, to)) return end;
        builder_.copy(start, i);
        return consumed(end);
      }
      default:
        return i + 1;
    }
  }

  // `code` loses its back-ticks; what is inside stays as it is.
  std::size_t code(std::size_t i, std::size_t to, std::size_t& start) {
    std::size_t open = i;
    while (open < to && text_[open] == '`') ++open;
    const std::size_t ticks = open - i;
    const std::size_t limit = may_search() ? std::min(to, open + kReach) : open;
    for (std::size_t at = open; at < limit;) {
      if (text_[at] != '`') {
        ++at;
        continue;
      }
      std::size_t close = at;
      while (close < to && text_[close] == '`') ++close;
      if (close - at == ticks) {
        builder_.copy(start, i);
        builder_.copy(open, at);
        start = close;
        return close;
      }
      at = close;
    }
    searched_in_vain(limit - open);
    return open;
  }

  // End of an inline tag or comment at i, or i if there is none. Autolinks <https://...> are no tags: only their brackets go, as text.
  std::size_t angle(std::size_t i, std::size_t to) const {
    if (i + 1 >= to) return i;
    const char next = text_[i + 1];
    if (!is_letter(next) && next != '/' && next != '!') return i;
    const std::size_t limit = std::min(to, i + kReach);
    const std::size_t close = may_search() ? text_.substr(0, limit).find('>', i) : std::string_view::npos;
    if (close == std::string_view::npos) {
      searched_in_vain(limit - i);
      return i;
    }
    const std::string_view inside = text_.substr(i + 1, close - i - 1);
    if (inside.find("://") != std::string_view::npos && inside.find(' ') == std::string_view::npos) return i;
    if (inside.find('@') != std::string_view::npos && inside.find(' ') == std::string_view::npos) return i;
    return close + 1;
  }

  // Position of the bracket that closes the one at `open`, or npos.
  std::size_t closing(std::size_t open, std::size_t to, char left, char right) const {
    int depth = 0;
    const std::size_t limit = may_search() ? std::min(to, open + kReach) : open;
    for (std::size_t i = open; i < limit; ++i) {
      if (text_[i] == '\\') {
        ++i;
      } else if (text_[i] == left) {
        ++depth;
      } else if (text_[i] == right && --depth == 0) {
        return i;
      }
    }
    searched_in_vain(limit - open);
    return std::string_view::npos;
  }

  // [text](target), ![alt](target), [text][label], [^note]. `first` is the "!" of an image or the bracket itself.
  std::size_t bracket(std::size_t first, std::size_t open, std::size_t to, int nesting, std::size_t& start) {
    const std::size_t close = nesting < kMaxNesting ? closing(open, to, '[', ']') : std::string_view::npos;
    if (close == std::string_view::npos) return open + 1;
    if (text_[open + 1] == '^') {
      builder_.copy(start, first);
      start = close + 1;
      return start;
    }
    std::size_t end = std::string_view::npos;
    if (close + 1 < to && text_[close + 1] == '(') end = closing(close + 1, to, '(', ')');
    if (close + 1 < to && text_[close + 1] == '[') end = closing(close + 1, to, '[', ']');
    if (end == std::string_view::npos) return open + 1;
    builder_.copy(start, first);
    copy(open + 1, close, nesting + 1);
    start = end + 1;
    return start;
  }

  // A run of * or _ that touches a word on one side only, which is how emphasis opens and closes; "2 * 3" and "snake_case" touch none or
  // two.
  bool is_emphasis(std::size_t start, std::size_t end, std::size_t from, std::size_t to) const {
    if (end - start > 3) return false;
    const char before = start > from ? text_[start - 1] : ' ';
    const char after = end < to ? text_[end] : ' ';
    const bool edge_before = is_space(before) || is_punctuation(before);
    const bool edge_after = is_space(after) || is_punctuation(after);
    const bool opens = edge_before && !is_space(after);
    const bool closes = edge_after && !is_space(before);
    return opens || closes;
  }

  // False: too much was searched in vain already.
  bool may_search() const noexcept { return budget_ > 0; }
  void searched_in_vain(std::size_t bytes) const noexcept { budget_ -= std::min(budget_, bytes); }

  BlockBuilder& builder_;
  std::string_view text_;
  mutable std::size_t budget_;
};

}  // namespace

void copy_markdown_inline(BlockBuilder& builder, std::string_view text, std::size_t from, std::size_t to) {
  InlineCopier(builder, text, to - from).copy(from, to, 0);
}

}  // namespace gritstone
