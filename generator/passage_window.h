// The part of a passage that is nearest to a question.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/token_counter.h"
#include "index/document.h"

namespace gritstone {

// Byte range of `passage`: consecutive whole sentences of at most `max_tokens` tokens that hold the most of the question's terms (stemmed,
// without stop words), the earliest such; at least one sentence, however long. The whole passage if it is short enough.
//   language  Snowball algorithm of the collection
// Thread-safe. Throws Error(kInvalidArgument) for an unknown language.
ByteSpan passage_window(std::string_view passage, std::string_view question, std::size_t max_tokens, const TokenCounter& counter,
                        const std::string& language);

}  // namespace gritstone
