// How the merge engine's tables are made from a vocabulary.
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <numeric>
#include <unordered_map>

#include "base/error.h"
#include "base/utf8.h"
#include "model/tokenizer/bpe.h"
#include "model/tokenizer/byte_alphabet.h"

namespace gritstone {
namespace {

// Longer tokens are found by merging; the table of whole words is for speed.
constexpr std::size_t kMaxWholeWord = 64;
// Scores imply a merge for every split of every token. Llama 2: 61,249; Gemma: 580,604.
constexpr std::size_t kMaxImpliedMerges = std::size_t{1} << 23;
constexpr std::size_t kMaxProbes = 4096;                           // of a table at most half full; published vocabularies stay under 100
constexpr std::uint64_t kMaxImpliedWork = std::uint64_t{1} << 31;  // bytes hashed to find them

[[noreturn]] void reject(const std::string& reason) { throw Error(ErrorCode::kModelRejected, "tokenizer: " + reason); }

// Tokens that merging may produce. Control and unknown tokens are not among them, whatever the merges say: plain text must not become one.
bool can_be_merged(const VocabToken& token) { return token.kind == TokenKind::kNormal || token.kind == TokenKind::kUserDefined; }

std::uint32_t packed(std::string_view character) noexcept {
  std::uint32_t key = 0;
  for (const char byte : character) key = key << 8 | static_cast<std::uint8_t>(byte);
  return key;
}

}  // namespace

Bpe::Bpe(const Vocab& vocab) : symbols_(vocab.symbols), vocab_size_(static_cast<std::uint32_t>(vocab.tokens.size())) {
  byte_symbol_.fill(kNone);
  if (vocab.symbols == SymbolKind::kCharacters && vocab.unk >= 0) unknown_ = static_cast<std::uint32_t>(vocab.unk);
  for (std::uint32_t id = 0; id < vocab_size_; ++id) {
    const VocabToken& token = vocab.tokens[id];
    if (token.kind == TokenKind::kByte && symbols_ == SymbolKind::kCharacters) byte_symbol_[*byte_of_token_text(token.text)] = id;
    if (token.kind != TokenKind::kNormal && !(token.kind == TokenKind::kUserDefined && symbols_ == SymbolKind::kCharacters)) continue;
    const Utf8Decoded first = decode_utf8(token.text, 0);
    if (!first.valid || first.length != token.text.size()) continue;
    if (symbols_ == SymbolKind::kCharacters) {
      character_symbol_[packed(token.text)] = id;
    } else if (const auto bytes = bytes_of_spelling(token.text); bytes && bytes->size() == 1) {
      byte_symbol_[static_cast<std::uint8_t>(bytes->front())] = id;
    }
  }
  if (vocab.scores.empty()) {
    add_merges(vocab);
  } else {
    add_scores(vocab);
  }
  add_words(vocab);
}

void Bpe::reserve_merges(std::size_t count) {
  const std::size_t slots = std::bit_ceil(std::max<std::size_t>(count * 2, 16));
  merges_.assign(slots, Merge{});
  merge_mask_ = slots - 1;
}

void Bpe::insert_merge(std::uint32_t left, std::uint32_t right, std::uint32_t rank, std::uint32_t product) {
  const std::uint64_t key = std::uint64_t{left} << 32 | right;
  std::uint64_t slot = merge_slot(key);
  for (std::size_t probes = 0; merges_[slot].rank != kNone; slot = (slot + 1) & merge_mask_, ++probes) {
    if (merges_[slot].pair == key)
      reject("merges " + std::to_string(merges_[slot].rank) + " and " + std::to_string(rank) + " are the same");
    if (probes > kMaxProbes) reject("the merges collide in the hash table, as only merges made for that do");
  }
  merges_[slot] = {key, rank, product};
}

void Bpe::add_merges(const Vocab& vocab) {
  std::unordered_map<std::string_view, std::uint32_t> by_text;
  by_text.reserve(vocab.tokens.size());
  for (std::uint32_t id = 0; id < vocab_size_; ++id) {
    // An ordinary token goes before one of another kind with the same text.
    const auto [at, added] = by_text.try_emplace(vocab.tokens[id].text, id);
    if (!added && vocab.tokens[id].kind == TokenKind::kNormal) at->second = id;
  }
  reserve_merges(vocab.merges.size());
  std::string product;
  for (std::size_t rank = 0; rank < vocab.merges.size(); ++rank) {
    const auto [left, right] = vocab.merges[rank];
    const VocabToken& left_token = vocab.tokens[static_cast<std::size_t>(left)];
    const VocabToken& right_token = vocab.tokens[static_cast<std::size_t>(right)];
    product = left_token.text + right_token.text;
    const auto found = by_text.find(product);
    if (found == by_text.end()) reject("merge " + std::to_string(rank) + " makes \"" + product.substr(0, 80) + "\", which is no token");
    if (!can_be_merged(left_token) || !can_be_merged(right_token) || !can_be_merged(vocab.tokens[found->second])) continue;
    insert_merge(static_cast<std::uint32_t>(left), static_cast<std::uint32_t>(right), static_cast<std::uint32_t>(rank), found->second);
  }
}

void Bpe::add_scores(const Vocab& vocab) {
  std::unordered_map<std::string_view, std::uint32_t> by_text;
  by_text.reserve(vocab.tokens.size());
  std::vector<std::uint32_t> ids;
  std::uint64_t work = 0;
  for (std::uint32_t id = 0; id < vocab_size_; ++id) {
    const VocabToken& token = vocab.tokens[id];
    if (!can_be_merged(token)) continue;
    if (!by_text.try_emplace(token.text, id).second) continue;
    ids.push_back(id);
    work += std::uint64_t{token.text.size()} * token.text.size();
  }
  if (work > kMaxImpliedWork) reject("tokens are too long for a vocabulary with scores");

  // Characters that occur in tokens without being tokens can still be merged; they get symbols behind the vocabulary.
  std::vector<std::string> characters;
  for (const std::uint32_t id : ids) {
    const std::string& text = vocab.tokens[id].text;
    for (std::size_t i = 0; i < text.size();) {
      const std::size_t length = decode_utf8(text, i).length;
      const std::string_view character(text.data() + i, length);
      const auto next = static_cast<std::uint32_t>(vocab_size_ + characters.size());
      if (character_symbol_.try_emplace(packed(character), next).second) characters.emplace_back(character);
      i += length;
    }
  }
  for (std::size_t i = 0; i < characters.size(); ++i) by_text.try_emplace(characters[i], static_cast<std::uint32_t>(vocab_size_ + i));

  // Equal scores get equal ranks, so that the leftmost pair wins among them.
  std::stable_sort(ids.begin(), ids.end(), [&](std::uint32_t a, std::uint32_t b) { return vocab.scores[a] > vocab.scores[b]; });
  struct Implied {
    std::uint32_t left, right, rank, product;
  };
  std::vector<Implied> implied;
  std::uint32_t rank = 0;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (i > 0 && vocab.scores[ids[i]] != vocab.scores[ids[i - 1]]) ++rank;
    const std::string_view text = vocab.tokens[ids[i]].text;
    for (std::size_t cut = decode_utf8(text, 0).length; cut < text.size(); cut += decode_utf8(text, cut).length) {
      const auto left = by_text.find(text.substr(0, cut));
      if (left == by_text.end()) continue;
      const auto right = by_text.find(text.substr(cut));
      if (right == by_text.end()) continue;
      if (implied.size() == kMaxImpliedMerges) reject("scores imply more than " + std::to_string(kMaxImpliedMerges) + " merges");
      implied.push_back({left->second, right->second, rank, ids[i]});
    }
  }
  reserve_merges(implied.size());
  for (const Implied& merge : implied) insert_merge(merge.left, merge.right, merge.rank, merge.product);
}

void Bpe::add_words(const Vocab& vocab) {
  texts_.resize(vocab_size_);
  Scratch scratch;
  std::vector<TokenId> encoded;
  std::vector<std::uint32_t> whole;
  for (std::uint32_t id = 0; id < vocab_size_; ++id) {
    const VocabToken& token = vocab.tokens[id];
    if (token.kind != TokenKind::kNormal) continue;
    if (token.text.size() > kMaxWholeWord && !vocab.ignore_merges) continue;
    if (symbols_ == SymbolKind::kCharacters) {
      texts_[id] = token.text;
    } else if (auto bytes = bytes_of_spelling(token.text)) {
      texts_[id] = std::move(*bytes);
    } else {
      continue;  // raw text of an added token that the vocabulary lists as well
    }
    encoded.clear();
    if (!vocab.ignore_merges) encode(texts_[id], scratch, encoded);  // longest_word_ is still 0: this merges
    if (vocab.ignore_merges || (encoded.size() == 1 && encoded.front() == static_cast<TokenId>(id))) whole.push_back(id);
  }
  const std::size_t slots = std::bit_ceil(std::max<std::size_t>(whole.size() * 2, 16));
  words_.assign(slots, Word{});
  word_mask_ = slots - 1;
  for (const std::uint32_t id : whole) {
    const std::uint64_t hash = XXH3_64bits(texts_[id].data(), texts_[id].size());
    std::uint64_t slot = hash & word_mask_;
    while (words_[slot].id != kNone) slot = (slot + 1) & word_mask_;
    words_[slot] = {hash, id};
    longest_word_ = std::max(longest_word_, texts_[id].size());
  }
}

}  // namespace gritstone
