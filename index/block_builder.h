// Collects one block's text from pieces of the decoded file and remembers where each came from.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "index/document.h"

namespace gritstone {

// Characters that change how text looks or nothing at all, and can hide instructions from a reader: bidi controls, tags (U+E0000..E007F),
// zero-width and variation selectors, soft hyphen, U+FEFF, and controls other than tab and newline.
bool is_hidden_character(char32_t c) noexcept;

// Not thread-safe. Cost: linear in what is copied.
class BlockBuilder {
 public:
  // decoded: borrowed for the builder's life. collapse: runs of white space become one blank (prose); otherwise kept (code).
  BlockBuilder(std::string_view decoded, bool collapse) : decoded_(decoded), collapse_(collapse) {}

  // Copies decoded[from, to) without hidden characters.
  void copy(std::size_t from, std::size_t to);
  // `text` stands for decoded[from, to): an entity, or a separator where from == to. Collapsed like copied text.
  void put(std::string_view text, std::size_t from, std::size_t to);
  bool empty() const noexcept { return block_.text.empty(); }
  bool collapse() const noexcept { return collapse_; }
  void set_collapse(bool collapse) noexcept { collapse_ = collapse; }

  // The block without blanks at its ends; the builder is empty again. Its text may be empty.
  Block finish(BlockKind kind);

 private:
  void copied(std::size_t from, std::size_t length);
  void replaced(std::string_view text, std::size_t from, std::size_t length);
  bool ends_with_space() const noexcept { return block_.text.empty() || block_.text.back() == ' ' || block_.text.back() == '\n'; }

  std::string_view decoded_;
  bool collapse_;
  Block block_;
  std::size_t next_decoded_ = 0;  // where the last copied run would continue
};

}  // namespace gritstone
