// Cuts text into sentences.
#pragma once

#include <string_view>
#include <vector>

#include "index/document.h"

namespace gritstone {

// Byte ranges of the sentences of `text` (ICU's rules, UAX 29), ascending, without surrounding blanks; line breaks end a sentence too.
// Malformed UTF-8 is allowed. Thread-safe. Throws Error(kDevice) if ICU has no sentence rules.
std::vector<ByteSpan> sentences_of(std::string_view text);

}  // namespace gritstone
