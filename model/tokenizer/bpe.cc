#include "model/tokenizer/bpe.h"

#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <functional>
#include <numeric>

#include "base/error.h"
#include "base/utf8.h"

namespace gritstone {
namespace {

// Up to here a scan over the few pairs beats a heap; most words have fewer symbols.
constexpr std::size_t kFewSymbols = 24;

std::uint64_t pair_key(std::uint32_t left, std::uint32_t right) noexcept { return std::uint64_t{left} << 32 | right; }

bool heap_order(const Bpe::Scratch::Candidate& a, const Bpe::Scratch::Candidate& b) noexcept {
  return a.rank != b.rank ? a.rank > b.rank : a.left > b.left;
}

std::uint32_t packed(std::string_view character) noexcept {
  std::uint32_t key = 0;
  for (const char byte : character) key = key << 8 | static_cast<std::uint8_t>(byte);
  return key;
}

}  // namespace

void Bpe::encode(std::string_view word, Scratch& scratch, std::vector<TokenId>& ids) const {
  if (word.empty()) return;
  if (const std::uint32_t id = find_word(word); id != kNone) {
    ids.push_back(static_cast<TokenId>(id));
    return;
  }
  split(word, scratch);
  if (scratch.nodes.empty()) return;
  if (scratch.nodes.size() <= kFewSymbols) {
    merge_few(scratch);
  } else {
    merge_many(scratch);
  }
  emit(word, scratch, ids);
}

void Bpe::split(std::string_view word, Scratch& scratch) const {
  auto& nodes = scratch.nodes;
  nodes.clear();
  const auto add = [&](std::uint32_t symbol, std::size_t offset) {
    const auto index = static_cast<std::uint32_t>(nodes.size());
    nodes.push_back({symbol, index - 1, index + 1, static_cast<std::uint32_t>(offset)});
  };
  if (symbols_ == SymbolKind::kBytes) {
    for (std::size_t i = 0; i < word.size(); ++i) {
      // Hugging Face leaves out bytes that have no token before it merges, so that their neighbours meet.
      if (const std::uint32_t symbol = byte_symbol_[static_cast<std::uint8_t>(word[i])]; symbol != kNone) add(symbol, i);
    }
  } else {
    for (std::size_t i = 0; i < word.size();) {
      const std::size_t length = decode_utf8(word, i).length;
      add(symbol_of_character(word.substr(i, length)), i);
      i += length;
    }
  }
  if (!nodes.empty()) nodes.back().next = kNone;
}

void Bpe::join(Scratch& scratch, std::uint32_t left, std::uint32_t product) const noexcept {
  auto& nodes = scratch.nodes;
  auto& node = nodes[left];
  const std::uint32_t right = node.next;
  node.symbol = product;
  node.next = nodes[right].next;
  if (node.next != kNone) nodes[node.next].previous = left;
}

void Bpe::merge_few(Scratch& scratch) const {
  auto& nodes = scratch.nodes;
  std::array<Merge, kFewSymbols> pairs;  // pairs[i]: the merge of node i with its next
  const auto look_up = [&](std::uint32_t i) {
    const std::uint32_t next = nodes[i].next;
    const Merge* merge = next == kNone ? nullptr : find_merge(nodes[i].symbol, nodes[next].symbol);
    pairs[i] = merge == nullptr ? Merge{} : *merge;
  };
  for (std::uint32_t i = 0; i < nodes.size(); ++i) look_up(i);
  for (;;) {
    std::uint32_t best = kNone, best_rank = kNone;
    for (std::uint32_t i = 0; i != kNone; i = nodes[i].next) {
      if (pairs[i].rank < best_rank) best_rank = pairs[i].rank, best = i;
    }
    if (best == kNone) return;
    join(scratch, best, pairs[best].product);
    look_up(best);
    if (best != 0) look_up(nodes[best].previous);
  }
}

void Bpe::merge_many(Scratch& scratch) const {
  auto& nodes = scratch.nodes;
  auto& heap = scratch.heap;
  heap.clear();
  const auto candidate = [&](std::uint32_t left) {
    const std::uint32_t right = nodes[left].next;
    if (right == kNone) return false;
    const Merge* merge = find_merge(nodes[left].symbol, nodes[right].symbol);
    if (merge == nullptr) return false;
    heap.push_back({merge->rank, left, nodes[left].symbol, nodes[right].symbol, merge->product});
    return true;
  };
  for (std::uint32_t i = 0; i < nodes.size(); ++i) candidate(i);
  std::make_heap(heap.begin(), heap.end(), heap_order);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), heap_order);
    const Scratch::Candidate best = heap.back();
    heap.pop_back();
    // Symbols only grow, so a pair that still reads the same is still the same pair; anything else is out of date. The right node of a
    // merge keeps its symbol but is no longer reachable: it is emptied.
    if (nodes[best.left].symbol != best.left_symbol) continue;
    const std::uint32_t right = nodes[best.left].next;
    if (right == kNone || nodes[right].symbol != best.right_symbol) continue;
    join(scratch, best.left, best.product);
    nodes[right].symbol = kNone;
    if (candidate(best.left)) std::push_heap(heap.begin(), heap.end(), heap_order);
    if (best.left != 0 && candidate(nodes[best.left].previous)) std::push_heap(heap.begin(), heap.end(), heap_order);
  }
}

void Bpe::emit(std::string_view word, const Scratch& scratch, std::vector<TokenId>& ids) const {
  const auto& nodes = scratch.nodes;
  for (std::uint32_t i = 0; i != kNone; i = nodes[i].next) {
    if (nodes[i].symbol < vocab_size_) {
      ids.push_back(static_cast<TokenId>(nodes[i].symbol));
      continue;
    }
    const std::string_view character = word.substr(nodes[i].offset, decode_utf8(word, nodes[i].offset).length);
    const auto has_token = [&](char byte) { return expresses_byte(static_cast<std::uint8_t>(byte)); };
    if (std::all_of(character.begin(), character.end(), has_token)) {
      for (const char byte : character) ids.push_back(static_cast<TokenId>(byte_symbol_[static_cast<std::uint8_t>(byte)]));
    } else if (unknown_ != kNone) {
      ids.push_back(static_cast<TokenId>(unknown_));
    }
  }
}

std::uint32_t Bpe::symbol_of_character(std::string_view character) const noexcept {
  const auto found = character_symbol_.find(packed(character));
  return found == character_symbol_.end() ? kNone : found->second;
}

std::uint64_t Bpe::merge_slot(std::uint64_t pair) const noexcept {
  pair ^= pair >> 29;
  pair *= 0x9E3779B97F4A7C15u;  // 2^64 / golden ratio
  return (pair ^ pair >> 32) & merge_mask_;
}

const Bpe::Merge* Bpe::find_merge(std::uint32_t left, std::uint32_t right) const noexcept {
  const std::uint64_t key = pair_key(left, right);
  for (std::uint64_t slot = merge_slot(key);; slot = (slot + 1) & merge_mask_) {
    const Merge& merge = merges_[slot];
    if (merge.rank == kNone) return nullptr;  // free; asked first, since two symbols without a token make the key of a free slot
    if (merge.pair == key) return &merge;
  }
}

std::uint32_t Bpe::find_word(std::string_view word) const noexcept {
  if (word.size() > longest_word_) return kNone;
  const std::uint64_t hash = XXH3_64bits(word.data(), word.size());
  for (std::uint64_t slot = hash & word_mask_;; slot = (slot + 1) & word_mask_) {
    const Word& entry = words_[slot];
    if (entry.id == kNone) return kNone;
    if (entry.hash == hash && texts_[entry.id] == word) return entry.id;
  }
}

}  // namespace gritstone
