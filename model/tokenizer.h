// Text to token ids and back, as the model's authors trained it.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/token_counter.h"
#include "model/token.h"

namespace gritstone {

// Whether the text of special tokens ("<|endoftext|>") in the input becomes their ids. Document and user text is always kPlain, so that
// nothing in it can turn into a control token; scaffolds that we write ourselves may use kParse.
enum class SpecialTokens { kPlain, kParse };

// Immutable and thread-safe.
class Tokenizer : public TokenCounter {
 public:
  // Ids of `text`; nothing is added (no BOS, no EOS). Any byte string is accepted: malformed UTF-8 goes through byte fallback.
  virtual std::vector<TokenId> encode(std::string_view text, SpecialTokens special = SpecialTokens::kPlain) const = 0;

  // Bytes of the ids, special tokens as their text; ids outside the vocabulary give nothing. The bytes of a single token may end inside a
  // UTF-8 sequence. For vocabularies that mark the first word with a space (SentencePiece) the caller gets the bytes as they are.
  virtual std::string decode(std::span<const TokenId> ids) const = 0;

  virtual std::size_t vocab_size() const noexcept = 0;
  virtual bool is_special(TokenId id) const noexcept = 0;

  // -1 where the model has none. eos ends a text; generation also stops at end-of-turn tokens (stop_ids).
  virtual TokenId bos() const noexcept = 0;
  virtual TokenId eos() const noexcept = 0;
  virtual TokenId pad() const noexcept = 0;
  // Ids at which generation ends: eos and end-of-turn tokens such as <|im_end|>.
  virtual const std::vector<TokenId>& stop_ids() const noexcept = 0;
  // Whether the model's convention puts bos before raw text (GGUF add_bos_token).
  virtual bool adds_bos() const noexcept = 0;
  // Id of a token by its exact text; -1 if there is none.
  virtual TokenId find(std::string_view token) const = 0;
  // SHA-256 (hex) over vocabulary, merges, pre-tokeniser and special ids: part of cache keys and manifests.
  virtual const std::string& fingerprint() const noexcept = 0;

  std::size_t count(std::string_view text) const override { return encode(text).size(); }
};

}  // namespace gritstone
