// A tokenizer's data, as both kinds of files give it, before anything is built from it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/token.h"
#include "model/tokenizer/gguf_vocab.h"

namespace gritstone {

// What text is cut into before merging.
enum class SymbolKind : std::uint8_t {
  kBytes,       // byte-level BPE: every byte is a symbol, tokens are spelled with GPT-2's byte alphabet
  kCharacters,  // SentencePiece style: every code point is a symbol, spaces are U+2581, what has no token falls back to <0xNN> tokens
};

// How text is cut into words that no merge crosses. Names follow the models that introduced them.
enum class PreTokenizer : std::uint8_t {
  kWhole,   // no cutting
  kGpt2,    // GPT-2's expression; also GPT-NeoX, OLMo, OLMoE, MPT
  kSmolLm,  // every digit alone, then GPT-2's expression on what lies between
  kLlama3,  // up to three digits together, punctuation may lead a word, contractions in any case
  kQwen2,   // as kLlama3, every digit alone
};

// Where a space is put before text that does not begin a line of its own (SentencePiece's dummy prefix, ByteLevel's add_prefix_space).
enum class SpacePrefix : std::uint8_t {
  kNone,
  kFirstSegment,  // before the text, unless a special token begins it
  kEverySegment,  // before every stretch between special tokens
};

enum class TokenKind : std::uint8_t { kNormal, kUnknown, kControl, kUserDefined, kUnused, kByte };

struct VocabToken {
  std::string text;  // kNormal: as merges spell it. Others: the raw text; kByte: "<0xNN>"
  TokenKind kind = TokenKind::kUnused;
  // For kControl and kUserDefined, which are found in the text before anything else (Hugging Face's AddedToken).
  bool normalized = false;   // looked for after normalisation, in its normalised form
  bool lstrip = false;       // swallows white space before it
  bool rstrip = false;       // swallows white space after it
  bool single_word = false;  // only where no word character adjoins
};

// Plain data; validate() states what the rest of the tokenizer relies on.
struct Vocab {
  static constexpr std::size_t kMaxTokens = std::size_t{1} << 21;  // the largest published vocabularies have 2^18
  static constexpr std::size_t kMaxMerges = std::size_t{1} << 22;
  static constexpr std::size_t kMaxTokenBytes = std::size_t{1} << 16;
  static constexpr std::size_t kMaxMatchedBytes = 512;  // of a token found in the text first: bounds the search at each position
  static constexpr std::size_t kMaxUnusedIds = std::size_t{1} << 16;

  SymbolKind symbols = SymbolKind::kBytes;
  PreTokenizer pre_tokenizer = PreTokenizer::kGpt2;
  bool nfc = false;
  bool ignore_merges = false;  // a word that is a token as a whole is taken as it is, though no merges lead to it (Llama 3)
  SpacePrefix space_prefix = SpacePrefix::kNone;
  bool prefix_before_space = false;  // the prefix is added even where the text begins with a space (SentencePiece, llama.cpp)
  bool split_at_spaces = false;      // kCharacters: words begin at U+2581 and merges do not cross (Metaspace "split")

  std::vector<VocabToken> tokens;                   // index = id
  std::vector<std::pair<TokenId, TokenId>> merges;  // earlier merges first; the product is the concatenated text
  std::vector<float> scores;                        // instead of merges: any two symbols merge whose text is a token, highest score first
  TokenId bos = -1, eos = -1, eot = -1, pad = -1, unk = -1;
  std::vector<TokenId> more_eos;  // where the model lists several
  bool add_bos = false;

  // Marks as kControl every token that must never come out of plain text: special ids, and texts of the shapes <|...|> and |||...|||.
  // OLMoE-0125-Instruct has its end of text under the text |||IP_ADDRESS|||, flagged as ordinary.
  void mark_control_tokens();

  // Throws Error(kModelRejected) on: sizes over the limits, ids out of range, a repeated text, both or neither of merges and scores,
  // scores that are not finite.
  void validate() const;
};

// Throws Error(kModelRejected) with the reason; parameters as make_tokenizer_from_hf.
Vocab vocab_from_hf_json(std::string_view tokenizer_json, std::string_view tokenizer_config_json = {},
                         std::string_view generation_config_json = {});
Vocab vocab_from_gguf(const GgufVocab& source);

// Texts of the shapes <|...|> and |||...|||: control tokens by their looks.
bool looks_like_control(std::string_view text) noexcept;

// The byte of "<0xNN>"; nullopt for any other text.
std::optional<std::uint8_t> byte_of_token_text(std::string_view text) noexcept;

// The other way round, for writing a GGUF: tokens, types, merges and ids as llama.cpp expects them.
// Throws Error(kModelRejected) if GGUF cannot express the vocabulary (merges over characters).
GgufVocab gguf_from_vocab(const Vocab& vocab);

// SHA-256 (hex) over every field above that can change ids or their text.
std::string vocab_fingerprint(const Vocab& vocab);

}  // namespace gritstone
