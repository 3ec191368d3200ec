// Tokens that are found in the text as they are, before it is cut into words: special tokens, runs of spaces and the like.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/token.h"
#include "model/tokenizer/vocab.h"

namespace gritstone {

// Immutable, thread-safe. Finds the leftmost match and the longest of those that begin there.
class AddedTokens {
 public:
  struct Match {
    std::size_t begin, end;  // bytes, white space swallowed by lstrip and rstrip included
    std::size_t next;        // where to look on: behind the token's own text, as Hugging Face does, even if rstrip took more
    TokenId id;
  };

  // `flags` carries the matching rules, `text` (already normalised where it must be) is what is looked for.
  void add(std::string_view text, TokenId id, const VocabToken& flags);
  // Call once, after the last add().
  void finish();
  bool empty() const noexcept { return entries_.empty(); }

  // First token in `text` at or after `from`; lstrip reaches back to `used` at most. O(length of the longest token) per position.
  std::optional<Match> find(std::string_view text, std::size_t from, std::size_t used) const noexcept;

 private:
  struct Entry {
    std::string text;
    TokenId id;
    bool lstrip, rstrip, single_word;
  };
  const Entry* longest_at(std::string_view text, std::size_t at) const noexcept;

  std::vector<Entry> entries_;  // by text
  std::array<bool, 256> begins_{};
};

}  // namespace gritstone
