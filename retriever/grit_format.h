// The token sequence of one text to embed, and which of its tokens are the text's own.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "model/token.h"
#include "model/tokenizer.h"
#include "retriever/embed_options.h"
#include "retriever/embedder.h"

namespace gritstone {

struct EmbedTokens {
  std::vector<TokenId> tokens;
  std::size_t text_first = 0;  // tokens [text_first, text_first + text_count) are pooled: for echo the second copy
  std::size_t text_count = 0;
  std::size_t pool_last = 0;  // the token that `last` and `routing` look at
  std::size_t cut = 0;        // tokens of the text beyond max_tokens
};

// Prefix and text are tokenised on their own, so that a text has the same tokens behind every prefix; text that spells a role is escaped.
//   grit   query     <bos><|user|>\n{instruction}\n<|embed|>\n{text}    without instruction as a document
//          document  <bos><|embed|>\n{text}
//          last, routing (PromptEOL, Jiang et al. 2023)  <bos>This sentence : "{text}" means in one word:"
//          echo      the prefix above, then {text}\n{text}
//   raw    {text}, for echo {text}\n{text}; with a BOS only where the tokenizer's convention has one
// <bos> is the tokenizer's, or its EOS where it has none (OLMoE: 50279). No EOS behind the text.
// max_context: the tokens are at most so many; a text is cut further if need be.
EmbedTokens format_for_embedding(const Tokenizer& tokenizer, const EmbedOptions& options, TextRole role, std::string_view instruction,
                                 std::string_view text, std::size_t max_context);

}  // namespace gritstone
