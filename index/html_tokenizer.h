// A tolerant HTML tokenizer that keeps byte offsets. libxml2's parser gives line numbers at best, and citations need bytes; nothing here
// needs a tree, so depth cannot exhaust anything.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace gritstone {

struct HtmlToken {
  enum class Kind { kText, kStartTag, kEndTag, kSkipped, kEnd } kind = Kind::kEnd;
  std::size_t start = 0;  // text[start, end)
  std::size_t end = 0;
  std::string name;  // of a tag, lower case, at most 32 bytes
  bool self_closing = false;
};

// Not thread-safe. Cost: linear over a whole file.
class HtmlTokenizer {
 public:
  explicit HtmlTokenizer(std::string_view text) : text_(text) {}

  // The next token; kEnd at the end. Comments, doctypes and processing instructions are kSkipped.
  HtmlToken next();
  // Jumps behind the "</name" ... ">" that ends a raw-text element (script, style, title, ...). Returns the end of its content; the whole
  // rest of the file if it is never closed.
  std::size_t skip_raw_text(std::string_view name);

  std::size_t position() const noexcept { return at_; }
  void seek(std::size_t position) noexcept { at_ = position; }

 private:
  HtmlToken markup();
  // One past the ">" that ends the tag at `from`; quoted attribute values may hold ">".
  std::size_t tag_end(std::size_t from, bool& self_closing) const noexcept;

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace gritstone
