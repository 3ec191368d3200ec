// Markdown (CommonMark's blocks, GitHub's tables), read line by line; what is unusual ends up as a paragraph, never lost.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "index/block_builder.h"
#include "index/markdown_inline.h"
#include "index/readers.h"

namespace gritstone {
namespace {

struct Line {
  std::size_t start = 0;  // first byte that is not indentation or quote mark
  std::size_t end = 0;    // without trailing blanks
  std::size_t raw = 0;    // first byte of the line
  std::size_t indent = 0;
};

bool is_blank_char(char c) { return c == ' ' || c == '\t'; }

class MarkdownReader {
 public:
  explicit MarkdownReader(Document& document) : document_(document), text_(document.decoded.text), builder_(text_, true) {
    for (const LineSpan& span : split_lines(text_)) lines_.push_back(measure(span));
  }

  void read() {
    at_ = front_matter();
    while (at_ < lines_.size()) block();
    flush();
    if (document_.title.empty()) {
      const auto heading =
          std::find_if(document_.blocks.begin(), document_.blocks.end(), [](const Block& b) { return b.kind == BlockKind::kHeading; });
      if (heading != document_.blocks.end()) document_.title = heading->text;
    }
  }

 private:
  Line measure(const LineSpan& span) const {
    Line line{span.start, span.end, span.start, 0};
    while (line.end > line.start && is_blank_char(text_[line.end - 1])) --line.end;
    for (bool quote = true; quote;) {
      quote = false;
      std::size_t indent = 0;
      std::size_t at = line.start;
      for (; at < line.end && is_blank_char(text_[at]); ++at) indent += text_[at] == '\t' ? 4 : 1;
      if (at < line.end && text_[at] == '>' && indent < 4) {
        line.start = at + 1;
        if (line.start < line.end && text_[line.start] == ' ') ++line.start;
        quote = true;
      } else {
        line.start = at;
        line.indent = indent;
      }
    }
    return line;
  }

  std::string_view view(const Line& line) const { return text_.substr(line.start, line.end - line.start); }
  bool blank(std::size_t i) const { return i >= lines_.size() || lines_[i].start >= lines_[i].end; }

  void flush() {
    add_block(document_, builder_.finish(kind_));
    kind_ = BlockKind::kParagraph;
  }

  void copy_line(std::size_t from, std::size_t to) {
    if (!builder_.empty()) builder_.put(" ", from, from);
    copy_markdown_inline(builder_, text_, from, to);
  }

  // "---" ... "---" at the very beginning; its title counts. Returns the first line behind it.
  std::size_t front_matter() {
    if (lines_.empty() || view(lines_[0]) != "---") return 0;
    for (std::size_t i = 1; i < lines_.size() && i < 200; ++i) {
      const std::string_view line = view(lines_[i]);
      if (line == "---" || line == "...") return i + 1;
      if (line.starts_with("title:") && lines_[i].indent == 0) {
        std::size_t from = lines_[i].start + 6;
        std::size_t to = lines_[i].end;
        while (from < to && is_blank_char(text_[from])) ++from;
        if (to > from + 1 && (text_[from] == '"' || text_[from] == '\'') && text_[to - 1] == text_[from]) {
          ++from;
          --to;
        }
        BlockBuilder title(text_, true);
        title.copy(from, to);
        document_.title = title.finish(BlockKind::kParagraph).text;
      }
    }
    return 0;  // never closed: a thematic break, and text
  }

  void block() {
    const Line& line = lines_[at_];
    if (blank(at_)) {
      flush();
      after_list_ = after_list_ && (at_ + 1 < lines_.size());
      ++at_;
    } else if (fence_length(line) > 0) {
      fenced_code();
    } else if (line.indent >= 4 && builder_.empty() && !after_list_) {
      indented_code();
    } else if (const int level = heading_level(line); level > 0) {
      heading(level);
    } else if (is_thematic_break(line)) {
      flush();
      ++at_;
    } else if (view(line).starts_with("<!--")) {
      comment();
    } else if (is_reference_definition(line)) {
      flush();
      ++at_;
    } else if (is_table(at_)) {
      table();
    } else {
      text_line();
    }
  }

  // Length of the ``` or ~~~ that opens or closes a code block; 0 = none.
  std::size_t fence_length(const Line& line) const {
    const std::string_view v = view(line);
    if (v.size() < 3 || (v[0] != '`' && v[0] != '~') || line.indent > 7) return 0;
    std::size_t n = 0;
    while (n < v.size() && v[n] == v[0]) ++n;
    // "```a```" on one line is inline code.
    return n >= 3 && (v[0] == '~' || v.find('`', n) == std::string_view::npos) ? n : 0;
  }

  void add_code(std::size_t first, std::size_t last) {
    BlockBuilder code(text_, false);
    for (std::size_t i = first; i < last; ++i) {
      code.copy(lines_[i].raw, lines_[i].end);
      code.put("\n", lines_[i].end, lines_[i].end);
    }
    add_block(document_, code.finish(BlockKind::kCode));
  }

  void fenced_code() {
    flush();
    const char mark = text_[lines_[at_].start];
    const std::size_t length = fence_length(lines_[at_]);
    const std::size_t first = ++at_;
    while (at_ < lines_.size()) {
      const std::string_view v = view(lines_[at_]);
      if (v.size() >= length && v[0] == mark && v.find_first_not_of(mark) == std::string_view::npos) break;
      ++at_;
    }
    add_code(first, at_);
    if (at_ < lines_.size()) ++at_;
  }

  void indented_code() {
    const std::size_t first = at_;
    while (at_ < lines_.size() && (blank(at_) || lines_[at_].indent >= 4)) ++at_;
    add_code(first, at_);
  }

  // "## Title" or a paragraph line underlined with = or -.
  int heading_level(const Line& line) const {
    const std::string_view v = view(line);
    std::size_t marks = 0;
    while (marks < v.size() && v[marks] == '#') ++marks;
    if (marks >= 1 && marks <= 6 && (marks == v.size() || is_blank_char(v[marks]))) return static_cast<int>(marks);
    if (!builder_.empty() || at_ + 1 >= lines_.size() || list_marker(line) > 0) return 0;
    const std::string_view under = view(lines_[at_ + 1]);
    if (under.empty() || lines_[at_ + 1].indent > 3) return 0;
    if (under.find_first_not_of('=') == std::string_view::npos) return 1;
    return under.size() >= 2 && under.find_first_not_of('-') == std::string_view::npos ? 2 : 0;
  }

  void heading(int level) {
    flush();
    after_list_ = false;
    Line line = lines_[at_];
    if (text_[line.start] == '#') {
      while (line.start < line.end && text_[line.start] == '#') ++line.start;
      std::size_t end = line.end;  // "## Title ##"
      while (end > line.start && text_[end - 1] == '#') --end;
      if (end > line.start && is_blank_char(text_[end - 1])) line.end = end;
    } else {
      ++at_;  // the underline
    }
    ++at_;
    copy_markdown_inline(builder_, text_, line.start, line.end);
    Block block = builder_.finish(BlockKind::kHeading);
    block.level = level;
    add_block(document_, std::move(block));
  }

  bool is_thematic_break(const Line& line) const {
    const std::string_view v = view(line);
    if (v[0] != '-' && v[0] != '*' && v[0] != '_') return false;
    const auto marks = std::count(v.begin(), v.end(), v[0]);
    return marks >= 3 && v.find_first_not_of(std::string{v[0], ' ', '\t'}) == std::string_view::npos;
  }

  void comment() {
    flush();
    const std::size_t close = text_.find("-->", lines_[at_].start);
    const std::size_t end = close == std::string_view::npos ? text_.size() : close + 3;
    while (at_ < lines_.size() && lines_[at_].end < end) ++at_;
    if (at_ >= lines_.size()) return;
    lines_[at_].start = std::min(end, lines_[at_].end);  // what follows on the same line
    lines_[at_].indent = 0;
  }

  bool is_reference_definition(const Line& line) const {
    const std::string_view v = view(line);
    if (v[0] != '[' || !builder_.empty() || v.starts_with("[^")) return false;
    const std::size_t close = v.find("]:");
    return close != std::string_view::npos && v.find("](") > close;
  }

  // Bytes of "- " or "12. " at the line's beginning; 0 = no list item.
  std::size_t list_marker(const Line& line) const {
    const std::string_view v = view(line);
    std::size_t n = 0;
    if (!v.empty() && (v[0] == '-' || v[0] == '*' || v[0] == '+')) {
      n = 1;
    } else {
      while (n < v.size() && n < 9 && v[n] >= '0' && v[n] <= '9') ++n;
      if (n == 0 || n >= v.size() || (v[n] != '.' && v[n] != ')')) return 0;
      ++n;
    }
    return n < v.size() && is_blank_char(v[n]) ? n + 1 : 0;
  }

  void text_line() {
    const Line& line = lines_[at_];
    std::size_t from = line.start;
    if (const std::size_t marker = list_marker(line); marker > 0) {
      flush();
      kind_ = BlockKind::kListItem;
      after_list_ = true;
      // A number says which step this is; a bullet says nothing.
      if (text_[from] < '0' || text_[from] > '9') from += marker;
      if (text_.substr(from, 4) == "[ ] " || text_.substr(from, 4) == "[x] ") from += 4;
    } else if (line.indent == 0 && builder_.empty()) {
      after_list_ = false;
    }
    copy_line(from, line.end);
    ++at_;
  }

  // A header row and below it |---|:--:|.
  bool is_table(std::size_t i) const {
    if (i + 1 >= lines_.size() || view(lines_[i]).find('|') == std::string_view::npos) return false;
    const std::string_view under = view(lines_[i + 1]);
    return under.find('-') != std::string_view::npos && under.find('|') != std::string_view::npos &&
           under.find_first_not_of("|-: \t") == std::string_view::npos;
  }

  void table_row(const Line& line, bool header) {
    std::size_t from = line.start;
    std::size_t to = line.end;
    if (from < to && text_[from] == '|') ++from;
    if (to > from && text_[to - 1] == '|' && (to - 1 == from || text_[to - 2] != '\\')) --to;
    BlockBuilder row(text_, true);
    bool first = true;
    while (from <= to) {
      std::size_t bar = from;
      while (bar < to && !(text_[bar] == '|' && (bar == from || text_[bar - 1] != '\\'))) ++bar;
      if (!first) {
        row.put(" ", from, from);
        row.put("| ", from, from);
      }
      first = false;
      copy_markdown_inline(row, text_, from, bar);
      from = bar + 1;
    }
    Block block = row.finish(BlockKind::kTableRow);
    block.table = table_;
    block.table_header = header;
    add_block(document_, std::move(block));
  }

  void table() {
    flush();
    ++table_;
    table_row(lines_[at_], true);
    at_ += 2;
    for (; at_ < lines_.size() && !blank(at_) && view(lines_[at_]).find('|') != std::string_view::npos; ++at_)
      table_row(lines_[at_], false);
  }

  Document& document_;
  std::string_view text_;
  std::vector<Line> lines_;
  std::size_t at_ = 0;
  BlockBuilder builder_;
  BlockKind kind_ = BlockKind::kParagraph;
  bool after_list_ = false;  // an indented line then continues the item rather than being code
  std::uint32_t table_ = 0;
};

}  // namespace

void read_markdown(Document& document) { MarkdownReader(document).read(); }

}  // namespace gritstone
