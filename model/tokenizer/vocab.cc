#include "model/tokenizer/vocab.h"

#include <charconv>
#include <cmath>
#include <cstring>
#include <unordered_set>

#include "base/error.h"
#include "base/hash.h"

namespace gritstone {
namespace {

[[noreturn]] void reject(const std::string& reason) { throw Error(ErrorCode::kModelRejected, "tokenizer: " + reason); }

bool framed(std::string_view text, std::string_view before, std::string_view after) {
  return text.size() > before.size() + after.size() && text.substr(0, before.size()) == before &&
         text.substr(text.size() - after.size()) == after;
}

// Length-prefixed, so that no two different vocabularies feed the same bytes.
class Feed {
 public:
  void number(std::int64_t value) {
    std::uint8_t bytes[8];
    for (int i = 0; i < 8; ++i) bytes[i] = static_cast<std::uint8_t>(static_cast<std::uint64_t>(value) >> (8 * i));
    hash_.update(std::span<const std::uint8_t>(bytes));
  }
  void text(std::string_view value) {
    number(static_cast<std::int64_t>(value.size()));
    hash_.update(value);
  }
  std::string finish() { return to_hex(hash_.finish()); }

 private:
  Sha256 hash_;
};

}  // namespace

bool looks_like_control(std::string_view text) noexcept {
  constexpr std::string_view kWideOpen = "<\xEF\xBD\x9C", kWideClose = "\xEF\xBD\x9C>";  // U+FF5C, DeepSeek's bar
  return framed(text, "<|", "|>") || framed(text, "|||", "|||") || framed(text, kWideOpen, kWideClose);
}

std::optional<std::uint8_t> byte_of_token_text(std::string_view text) noexcept {
  if (text.size() != 6 || text.substr(0, 3) != "<0x" || text[5] != '>') return std::nullopt;
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data() + 3, text.data() + 5, value, 16);
  if (error != std::errc{} || end != text.data() + 5) return std::nullopt;
  return static_cast<std::uint8_t>(value);
}

void Vocab::mark_control_tokens() {
  const auto mark = [&](TokenId id) {
    if (id < 0 || static_cast<std::size_t>(id) >= tokens.size()) return;
    VocabToken& token = tokens[static_cast<std::size_t>(id)];
    if (token.kind != TokenKind::kUnknown) token.kind = TokenKind::kControl;
  };
  for (const TokenId id : {bos, eos, eot, pad}) mark(id);
  for (const TokenId id : more_eos) mark(id);
  for (VocabToken& token : tokens) {
    if (token.kind == TokenKind::kUserDefined && looks_like_control(token.text)) token.kind = TokenKind::kControl;
  }
}

void Vocab::validate() const {
  if (tokens.empty()) reject("the vocabulary is empty");
  if (tokens.size() > kMaxTokens) reject(std::to_string(tokens.size()) + " tokens, at most " + std::to_string(kMaxTokens));
  if (merges.size() > kMaxMerges) reject(std::to_string(merges.size()) + " merges, at most " + std::to_string(kMaxMerges));

  std::unordered_set<std::string_view> ordinary, matched;
  ordinary.reserve(tokens.size());
  for (std::size_t id = 0; id < tokens.size(); ++id) {
    const VocabToken& token = tokens[id];
    if (token.text.size() > kMaxTokenBytes) {
      reject("token " + std::to_string(id) + " has " + std::to_string(token.text.size()) + " bytes, at most " +
             std::to_string(kMaxTokenBytes));
    }
    if (token.kind == TokenKind::kUnused) continue;
    if (token.kind == TokenKind::kByte && !byte_of_token_text(token.text)) {
      reject("byte token " + std::to_string(id) + " is \"" + token.text.substr(0, 80) + "\", expected <0xNN>");
    }
    if (token.text.empty()) reject("token " + std::to_string(id) + " is empty");
    const bool is_matched = token.kind == TokenKind::kControl || token.kind == TokenKind::kUserDefined || token.kind == TokenKind::kUnknown;
    if (is_matched && token.text.size() > kMaxMatchedBytes) {
      reject("special token " + std::to_string(id) + " has " + std::to_string(token.text.size()) + " bytes, at most " +
             std::to_string(kMaxMatchedBytes));
    }
    if (!(is_matched ? matched : ordinary).insert(token.text).second) {
      reject("token " + std::to_string(id) + " repeats the text \"" + token.text.substr(0, 80) + "\"");
    }
  }

  const auto check_id = [&](TokenId id, const char* what) {
    if (id < -1 || (id >= 0 && static_cast<std::size_t>(id) >= tokens.size())) {
      reject(std::string(what) + " id " + std::to_string(id) + " is outside the vocabulary of " + std::to_string(tokens.size()));
    }
  };
  check_id(bos, "bos");
  check_id(eos, "eos");
  check_id(eot, "eot");
  check_id(pad, "pad");
  check_id(unk, "unk");
  for (const TokenId id : more_eos) check_id(id, "eos");
  for (const auto& [left, right] : merges) {
    check_id(left, "merge");
    check_id(right, "merge");
    if (left < 0 || right < 0) reject("a merge has a negative id");
  }
  if (!scores.empty()) {
    if (!merges.empty()) reject("both merges and scores");
    if (scores.size() != tokens.size()) {
      reject(std::to_string(scores.size()) + " scores for " + std::to_string(tokens.size()) + " tokens");
    }
    for (std::size_t id = 0; id < scores.size(); ++id) {
      if (!std::isfinite(scores[id])) reject("the score of token " + std::to_string(id) + " is not finite");
    }
  } else if (merges.empty()) {
    reject("neither merges nor scores");
  }
}

std::string vocab_fingerprint(const Vocab& vocab) {
  Feed feed;
  feed.text("gritstone tokenizer 1");  // raised when the code gives other ids for the same vocabulary
  for (const std::int64_t value :
       {static_cast<std::int64_t>(vocab.symbols), static_cast<std::int64_t>(vocab.pre_tokenizer), static_cast<std::int64_t>(vocab.nfc),
        static_cast<std::int64_t>(vocab.ignore_merges), static_cast<std::int64_t>(vocab.space_prefix),
        static_cast<std::int64_t>(vocab.prefix_before_space), static_cast<std::int64_t>(vocab.split_at_spaces),
        static_cast<std::int64_t>(vocab.bos), static_cast<std::int64_t>(vocab.eos), static_cast<std::int64_t>(vocab.eot),
        static_cast<std::int64_t>(vocab.pad), static_cast<std::int64_t>(vocab.unk), static_cast<std::int64_t>(vocab.add_bos)}) {
    feed.number(value);
  }
  feed.number(static_cast<std::int64_t>(vocab.more_eos.size()));
  for (const TokenId id : vocab.more_eos) feed.number(id);
  feed.number(static_cast<std::int64_t>(vocab.tokens.size()));
  for (const VocabToken& token : vocab.tokens) {
    feed.text(token.text);
    feed.number(static_cast<std::int64_t>(token.kind) | token.normalized << 8 | token.lstrip << 9 | token.rstrip << 10 |
                token.single_word << 11);
  }
  feed.number(static_cast<std::int64_t>(vocab.merges.size()));
  for (const auto& [left, right] : vocab.merges) feed.number(static_cast<std::int64_t>(left) << 32 | right);
  feed.number(static_cast<std::int64_t>(vocab.scores.size()));
  for (const float score : vocab.scores) {
    std::uint32_t bits;
    std::memcpy(&bits, &score, sizeof bits);
    feed.number(bits);
  }
  return feed.finish();
}

}  // namespace gritstone
