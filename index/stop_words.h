// Words that carry no meaning in a question.
#pragma once

#include <string_view>

namespace gritstone {

// word: case-folded, not stemmed. Only English has a list; other languages answer false (BM25's idf then does the work alone).
bool is_stop_word(std::string_view word, std::string_view language) noexcept;

}  // namespace gritstone
