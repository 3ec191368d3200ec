// Keeps text from documents and users from speaking in another role.
#pragma once

#include <string>
#include <string_view>

namespace gritstone {

// Copy of `text` in which no role marker stands: "<|name|>" becomes "<| name|>" for every name of 1 to 64 ASCII letters, digits, '_' and
// '-'.
//
// OLMoE's prompt formats write <|user|>, <|assistant|> and <|embed|> as ordinary text, so SpecialTokens::kPlain does not stop a document
// from spelling them; ChatML's markers and whatever a later model uses have the same shape, hence no list of names. A visible space is
// inserted (as a zero-width character would be, it is another token sequence, but readers of a quote see what happened). Idempotent, and
// what it returns holds no marker: an insertion never creates one, and no other code point normalises (NFC) to '<', '|', '>' or a
// lower-case letter. Linear time. Byte offsets behind a marker move, so escape on the way to the tokenizer, not in what is stored.
std::string escape_roles(std::string_view text);

}  // namespace gritstone
