// One function per document type; read_document() picks.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "index/document.h"

namespace gritstone {

// Each fills title and blocks of a document whose `decoded` is set. Linear in the length of the text.
void read_text(Document& document);
void read_markdown(Document& document);
void read_html(Document& document);

// A line without its end: decoded[start, end).
struct LineSpan {
  std::size_t start = 0;
  std::size_t end = 0;
};

// Lines of the text; "\n", "\r\n" and "\r" end one.
std::vector<LineSpan> split_lines(std::string_view text);

// Appends the block unless its text is empty.
void add_block(Document& document, Block block);

}  // namespace gritstone
