// Cuts text into the words that merges stay inside, as the regular expressions of the models do, but by hand: linear time, no regex engine.
#pragma once

#include <cstddef>
#include <string_view>

#include "model/tokenizer/vocab.h"

namespace gritstone {

// Length in bytes of the word that begins at text[offset]; `text` is a whole stretch between special tokens, since the expressions look
// ahead to its end. REQUIRES: offset < text.size(), offset is where the previous word ended. Result > 0.
std::size_t next_word(PreTokenizer kind, std::string_view text, std::size_t offset) noexcept;

}  // namespace gritstone
