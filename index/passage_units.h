// The smallest pieces a chunk may be made of: sentences, table rows, lines of code; parts of them where one alone is too long.
#pragma once

#include <cstddef>
#include <vector>

#include "base/token_counter.h"
#include "index/document.h"

namespace gritstone {

// block.text[from, to) of blocks[block], without blanks at its ends. tokens = counter.count of it, <= the limit it was cut with.
struct PassageUnit {
  std::size_t block = 0;
  std::size_t from = 0;
  std::size_t to = 0;
  std::size_t tokens = 0;
};

// Appends the units of one block in order; every character but blanks between them is in one. Each piece of text is counted about once.
void append_units(const Document& document, std::size_t block, const TokenCounter& counter, std::size_t max_tokens,
                  std::vector<PassageUnit>& units);

}  // namespace gritstone
