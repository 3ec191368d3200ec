// Byte-pair encoding of one word: the adjacent pair with the best rank merges first, the leftmost among equals.
// One engine for three kinds of vocabulary: byte-level merges, merges over characters, and SentencePiece scores (which are turned into the
// merges they imply: every way to split a token's text into two symbols).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "model/token.h"
#include "model/tokenizer/vocab.h"

namespace gritstone {

// Immutable, thread-safe.
class Bpe {
 public:
  // Memory for one encode at a time, reused from word to word.
  struct Scratch {
    struct Node {
      std::uint32_t symbol, previous, next, offset;
    };
    struct Candidate {
      std::uint32_t rank, left, left_symbol, right_symbol, product;
    };
    std::vector<Node> nodes;
    std::vector<Candidate> heap;
  };

  // REQUIRES: vocab.validate() has passed. Throws Error(kModelRejected): a merge whose product is no token, a repeated merge, scores that
  // imply too many merges.
  explicit Bpe(const Vocab& vocab);

  // Appends the ids of `word` (raw bytes; with kCharacters, spaces are already U+2581). O(n log n). A byte that no token expresses gives
  // the unknown token where the vocabulary has one for that purpose (kCharacters), else nothing, as the reference tokenizers do.
  void encode(std::string_view word, Scratch& scratch, std::vector<TokenId>& ids) const;

  bool expresses_byte(std::uint8_t byte) const noexcept { return byte_symbol_[byte] != kNone; }

 private:
  static constexpr std::uint32_t kNone = 0xFFFFFFFF;
  struct Merge {
    std::uint64_t pair = ~std::uint64_t{0};
    std::uint32_t rank = kNone;
    std::uint32_t product = kNone;
  };
  struct Word {
    std::uint64_t hash = 0;
    std::uint32_t id = kNone;
  };

  void add_merges(const Vocab& vocab);
  void add_scores(const Vocab& vocab);
  void add_words(const Vocab& vocab);
  void reserve_merges(std::size_t count);
  void insert_merge(std::uint32_t left, std::uint32_t right, std::uint32_t rank, std::uint32_t product);
  std::uint64_t merge_slot(std::uint64_t pair) const noexcept;
  const Merge* find_merge(std::uint32_t left, std::uint32_t right) const noexcept;
  std::uint32_t find_word(std::string_view word) const noexcept;
  std::uint32_t symbol_of_character(std::string_view character) const noexcept;
  void split(std::string_view word, Scratch& scratch) const;
  void merge_few(Scratch& scratch) const;
  void merge_many(Scratch& scratch) const;
  void join(Scratch& scratch, std::uint32_t left, std::uint32_t product) const noexcept;
  void emit(std::string_view word, const Scratch& scratch, std::vector<TokenId>& ids) const;

  SymbolKind symbols_;
  std::uint32_t vocab_size_ = 0;  // symbols from here on are characters that have no token of their own but occur in tokens
  std::uint32_t unknown_ = kNone;
  std::array<std::uint32_t, 256> byte_symbol_;  // kBytes: the byte's token; kCharacters: <0xNN>
  std::vector<Merge> merges_;                   // open addressing, a power of two, at most half full
  std::uint64_t merge_mask_ = 0;
  // Words that are one token, so that most text needs no merging at all: open addressing, at most half full.
  std::vector<Word> words_;
  std::uint64_t word_mask_ = 0;
  std::size_t longest_word_ = 0;
  std::vector<std::string> texts_;                                     // by token: the bytes that a word made of it has
  std::unordered_map<std::uint32_t, std::uint32_t> character_symbol_;  // kCharacters: by the bytes of the character
};

}  // namespace gritstone
