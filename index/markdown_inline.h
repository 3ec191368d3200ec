// Markdown inside a line: what stays of links, emphasis and code is their text.
#pragma once

#include <cstddef>
#include <string_view>

#include "index/block_builder.h"

namespace gritstone {

// Copies text[from, to) into the builder without link targets, image targets, emphasis marks, back-ticks, inline HTML tags, footnote marks
// and backslash escapes; decodes entities. Marks that open nothing ("2 * 3", "a_b") stay. Cost: linear (searches for closing marks are
// bounded).
void copy_markdown_inline(BlockBuilder& builder, std::string_view text, std::size_t from, std::size_t to);

}  // namespace gritstone
