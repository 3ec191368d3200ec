// HTML: blocks from block-level elements, without scripts, styles, navigation, footers and forms. Source ranges are those of the text
// itself.
#include <algorithm>
#include <iterator>
#include <optional>
#include <string>
#include <utility>

#include "base/utf8.h"
#include "index/block_builder.h"
#include "index/html_entities.h"
#include "index/html_tokenizer.h"
#include "index/readers.h"

namespace gritstone {
namespace {

template <std::size_t N>
bool one_of(std::string_view name, const std::string_view (&list)[N]) {
  return std::find(std::begin(list), std::end(list), name) != std::end(list);
}

// Their content is not markup: it ends only at their own end tag.
constexpr std::string_view kRawText[] = {"script", "style", "textarea", "iframe", "noembed", "noframes", "xmp"};
// What a reader would not call the document.
constexpr std::string_view kLeftOut[] = {"nav",    "footer", "template", "svg",   "noscript", "object",
                                         "select", "button", "canvas",   "audio", "video",    "dialog"};
constexpr std::string_view kBlocks[] = {"p",          "div",      "section", "article",    "main",  "header", "aside",  "ul",
                                        "ol",         "table",    "thead",   "tbody",      "tfoot", "dl",     "figure", "address",
                                        "details",    "summary",  "caption", "body",       "html",  "form",   "center", "hr",
                                        "figcaption", "fieldset", "legend",  "blockquote", "head",  "search", "hgroup", "menu"};
constexpr std::string_view kItems[] = {"li", "dt", "dd"};

int heading_level(std::string_view name) {
  return name.size() == 2 && name[0] == 'h' && name[1] >= '1' && name[1] <= '6' ? name[1] - '0' : 0;
}

class HtmlReader {
 public:
  explicit HtmlReader(Document& document)
      : document_(document), text_(document.decoded.text), tokens_(text_), builder_(text_, true), inline_title_(text_, true) {}

  void read() {
    for (HtmlToken token = tokens_.next();; token = tokens_.next()) {
      switch (token.kind) {
        case HtmlToken::Kind::kText:
          if (!in_head_) append(builder_, token.start, token.end);
          break;
        case HtmlToken::Kind::kStartTag:
          start_tag(token);
          break;
        case HtmlToken::Kind::kEndTag:
          end_tag(token);
          break;
        case HtmlToken::Kind::kSkipped:
          break;
        case HtmlToken::Kind::kEnd:
          finish_row();
          flush();
          return;
      }
    }
  }

 private:
  // Copies text, decoding entities.
  void append(BlockBuilder& builder, std::size_t from, std::size_t to) const {
    while (from < to) {
      const std::size_t ampersand = std::min(text_.substr(0, to).find('&', from), to);
      builder.copy(from, ampersand);
      if (ampersand == to) return;
      const Entity entity = decode_entity(text_, ampersand);
      if (entity.length == 0) {
        builder.copy(ampersand, ampersand + 1);
        from = ampersand + 1;
        continue;
      }
      std::string utf8;
      append_utf8(utf8, entity.code_point);
      builder.put(utf8, ampersand, ampersand + entity.length);
      from = ampersand + entity.length;
    }
  }

  void flush() {
    if (row_) return;  // only finish_row() ends a row
    Block block = builder_.finish(kind_);
    block.level = kind_ == BlockKind::kHeading ? level_ : 0;
    if (block.level > 0 && document_.title.empty()) document_.title = block.text;
    add_block(document_, std::move(block));
    kind_ = BlockKind::kParagraph;
    builder_.set_collapse(true);
  }

  void begin(BlockKind kind, int level = 0) {
    flush();
    if (row_) return;
    kind_ = kind;
    level_ = level;
    builder_.set_collapse(kind != BlockKind::kCode);
  }

  void finish_row() {
    if (!row_) return;
    row_ = false;
    Block block = builder_.finish(BlockKind::kTableRow);
    block.table = table_;
    block.table_header = row_headers_ > 0 && row_data_ == 0;
    add_block(document_, std::move(block));
  }

  void begin_row() {
    finish_row();
    flush();
    row_ = true;
    row_headers_ = 0;
    row_data_ = 0;
    builder_.set_collapse(true);
  }

  void begin_cell(bool header, std::size_t at) {
    if (!row_) begin_row();
    if (row_headers_ + row_data_ > 0) {
      builder_.put(" ", at, at);
      builder_.put("| ", at, at);
    }
    ++(header ? row_headers_ : row_data_);
  }

  // Skips an element with its content. Unclosed, it would swallow the document: then only its tag is ignored.
  void leave_out(const std::string& name) {
    const std::size_t resume = tokens_.position();
    std::size_t depth = 1;
    for (HtmlToken token = tokens_.next(); token.kind != HtmlToken::Kind::kEnd; token = tokens_.next()) {
      if (token.kind == HtmlToken::Kind::kStartTag && one_of(token.name, kRawText)) tokens_.skip_raw_text(token.name);
      if (token.name != name) continue;
      if (token.kind == HtmlToken::Kind::kStartTag && !token.self_closing) ++depth;
      if (token.kind == HtmlToken::Kind::kEndTag && --depth == 0) return;
    }
    never_closed_ += name + " ";
    tokens_.seek(resume);
  }

  void start_tag(const HtmlToken& token) {
    const std::string& name = token.name;
    if (name == "title" && document_.title.empty()) {
      const std::size_t from = tokens_.position();
      const std::size_t to = tokens_.skip_raw_text(name);
      append(inline_title_, from, to);
      document_.title = inline_title_.finish(BlockKind::kParagraph).text;
    } else if (name == "title" || one_of(name, kRawText)) {
      if (!token.self_closing) tokens_.skip_raw_text(name);
    } else if (one_of(name, kLeftOut) && !token.self_closing && never_closed_.find(name + " ") == std::string::npos) {
      flush();
      leave_out(name);
    } else if (name == "head") {
      in_head_ = true;
    } else if (name == "br") {
      builder_.put("\n", token.start, token.end);
    } else if (name == "pre") {
      begin(BlockKind::kCode);
    } else if (const int level = heading_level(name); level > 0) {
      in_head_ = false;
      begin(BlockKind::kHeading, level);
    } else if (one_of(name, kItems)) {
      begin(BlockKind::kListItem);
    } else if (name == "table") {
      finish_row();
      flush();
      ++table_;
    } else if (name == "tr") {
      begin_row();
    } else if (name == "td" || name == "th") {
      begin_cell(name == "th", token.start);
    } else if (one_of(name, kBlocks)) {
      in_head_ = false;
      block_boundary(token.start);
    }
  }

  void end_tag(const HtmlToken& token) {
    const std::string& name = token.name;
    if (name == "head") {
      in_head_ = false;
    } else if (name == "tr" || name == "table") {
      finish_row();
    } else if (name == "pre" || heading_level(name) > 0 || one_of(name, kItems) || one_of(name, kBlocks)) {
      block_boundary(token.start);
    }
  }

  // Inside a table cell a paragraph ends in a blank, not in a block: the row stays one.
  void block_boundary(std::size_t at) {
    if (row_) {
      builder_.put(" ", at, at);
    } else if (kind_ != BlockKind::kListItem || !builder_.empty()) {
      flush();
    }
  }

  Document& document_;
  std::string_view text_;
  HtmlTokenizer tokens_;
  BlockBuilder builder_;
  BlockBuilder inline_title_;
  BlockKind kind_ = BlockKind::kParagraph;
  int level_ = 0;
  bool in_head_ = false;
  bool row_ = false;
  std::uint32_t table_ = 0;
  std::size_t row_headers_ = 0;
  std::size_t row_data_ = 0;
  std::string never_closed_;  // names, each followed by a blank: left out at most once each, so time stays linear
};

}  // namespace

void read_html(Document& document) { HtmlReader(document).read(); }

}  // namespace gritstone
