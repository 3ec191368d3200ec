// The one Tokenizer: special tokens, normalisation, words, merges.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "model/tokenizer.h"
#include "model/tokenizer/added_tokens.h"
#include "model/tokenizer/bpe.h"
#include "model/tokenizer/vocab.h"

namespace gritstone {

class BpeTokenizer final : public Tokenizer {
 public:
  // Throws Error(kModelRejected) if the vocabulary is inconsistent.
  explicit BpeTokenizer(const Vocab& vocab);

  // Throws Error(kInvalidArgument) for texts of 4 GiB and more.
  std::vector<TokenId> encode(std::string_view text, SpecialTokens special = SpecialTokens::kPlain) const override;
  std::string decode(std::span<const TokenId> ids) const override;

  std::size_t vocab_size() const noexcept override { return bytes_.size(); }
  bool is_special(TokenId id) const noexcept override;
  TokenId bos() const noexcept override { return bos_; }
  TokenId eos() const noexcept override { return eos_; }
  TokenId pad() const noexcept override { return pad_; }
  const std::vector<TokenId>& stop_ids() const noexcept override { return stop_ids_; }
  bool adds_bos() const noexcept override { return add_bos_; }
  TokenId find(std::string_view token) const override;
  const std::string& fingerprint() const noexcept override { return fingerprint_; }

 private:
  // Added tokens of one mode: `raw` are looked for before normalisation, `normalized` in what remains, after it.
  struct Matchers {
    AddedTokens raw, normalized;
  };
  struct Encoding;

  void add_token(TokenId id, const VocabToken& token);
  void collect_stop_ids(const Vocab& vocab);
  template <typename Between>
  static void split_at_tokens(std::string_view text, const AddedTokens& tokens, Encoding& encoding, const Between& between);
  void encode_normalized(std::string_view text, const Matchers& matchers, Encoding& encoding) const;
  void encode_segment(std::string_view text, Encoding& encoding) const;
  void encode_characters(std::string_view text, Encoding& encoding) const;
  std::string replace_malformed(std::string_view text) const;

  Bpe bpe_;
  SymbolKind symbols_;
  PreTokenizer pre_tokenizer_;
  bool nfc_;
  SpacePrefix space_prefix_;
  bool prefix_before_space_;
  bool split_every_mark_;   // the model cuts before every U+2581
  bool split_before_mark_;  // we may cut where a run of U+2581 begins, since no token reaches across
  bool every_byte_has_token_;
  Matchers plain_, parse_;
  std::vector<std::string> bytes_;  // by id: what decode gives
  std::vector<bool> special_;
  std::unordered_map<std::string, TokenId> by_bytes_;
  TokenId bos_, eos_, pad_;
  bool add_bos_;
  std::vector<TokenId> stop_ids_;
  std::string fingerprint_;
};

}  // namespace gritstone
