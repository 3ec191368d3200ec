// Plain text: paragraphs between blank lines. A line that stands alone is a heading if it is underlined with = or -, or written in
// capitals.
#include <algorithm>

#include "base/utf8.h"
#include "index/block_builder.h"
#include "index/readers.h"

namespace gritstone {
namespace {

// Longer lines are text, however they are written.
constexpr std::size_t kMaxHeadingBytes = 120;

std::string_view trimmed(std::string_view line) {
  while (!line.empty() && static_cast<unsigned char>(line.front()) <= ' ') line.remove_prefix(1);
  while (!line.empty() && static_cast<unsigned char>(line.back()) <= ' ') line.remove_suffix(1);
  return line;
}

bool is_underline(std::string_view line) {
  return line.size() >= 3 && (line.front() == '=' || line.front() == '-') &&
         std::all_of(line.begin(), line.end(), [&](char c) { return c == line.front(); });
}

// "THE BEAUFORT SCALE", "VERSION 5.3, \"Wren\"": mostly capitals (ASCII), not a sentence and not a row of numbers.
bool is_capitals(std::string_view line) {
  std::size_t capitals = 0;
  std::size_t small = 0;
  for (const char c : line) {
    small += c >= 'a' && c <= 'z' ? 1 : 0;
    capitals += c >= 'A' && c <= 'Z' ? 1 : 0;
  }
  return capitals >= 2 && small * 2 <= capitals && capitals * 3 >= line.size() && line.back() != '.' && line.back() != ',' &&
         line.back() != ';';
}

// "- item", "* item", "• item", "3. item", "3) item"
bool is_list_item(std::string_view line) {
  if (line.size() < 3) return false;
  if ((line[0] == '-' || line[0] == '*' || line[0] == '+') && line[1] == ' ') return true;
  if (line.starts_with("\xE2\x80\xA2")) return true;
  std::size_t digits = 0;
  while (digits < line.size() && digits < 4 && line[digits] >= '0' && line[digits] <= '9') ++digits;
  return digits > 0 && digits + 1 < line.size() && (line[digits] == '.' || line[digits] == ')') && line[digits + 1] == ' ';
}

}  // namespace

void read_text(Document& document) {
  const std::string_view text = document.decoded.text;
  const auto lines = split_lines(text);
  const auto line_at = [&](std::size_t i) { return trimmed(text.substr(lines[i].start, lines[i].end - lines[i].start)); };
  const auto blank = [&](std::size_t i) { return i >= lines.size() || line_at(i).empty(); };
  BlockBuilder builder(text, true);
  BlockKind kind = BlockKind::kParagraph;
  const auto flush = [&] {
    add_block(document, builder.finish(kind));
    kind = BlockKind::kParagraph;
  };
  bool first = true;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const std::string_view line = line_at(i);
    if (line.empty()) {
      flush();
      continue;
    }
    const bool alone = i == 0 || blank(i - 1);
    const bool underlined = i + 1 < lines.size() && line.size() <= kMaxHeadingBytes && alone && is_underline(line_at(i + 1));
    const bool capitals = alone && blank(i + 1) && line.size() <= kMaxHeadingBytes && is_capitals(line);
    if (underlined || capitals) {
      flush();
      builder.copy(lines[i].start, lines[i].end);
      Block heading = builder.finish(BlockKind::kHeading);
      heading.level = first || (underlined && line_at(i + 1).front() == '=') ? 1 : 2;
      if (first) document.title = heading.text;
      add_block(document, std::move(heading));
      if (underlined) ++i;
      first = false;
      continue;
    }
    // A short first line that stands alone names the document but stays text: it may be the beginning of a letter.
    if (first && alone && blank(i + 1) && line.size() <= kMaxHeadingBytes) document.title = sanitize_utf8(line);
    first = false;
    if (is_underline(line)) {
      flush();
      continue;
    }
    if (is_list_item(line)) {
      flush();
      kind = BlockKind::kListItem;
    }
    builder.copy(lines[i].start, lines[i].end);
    if (lines[i].end < text.size()) builder.copy(lines[i].end, lines[i].end + 1);  // the line end: a blank between words
  }
  flush();
}

}  // namespace gritstone
