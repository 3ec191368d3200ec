#include "model/tokenizer/bpe_tokenizer.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "base/utf8.h"
#include "model/tokenizer/byte_alphabet.h"
#include "model/tokenizer/normalizer.h"
#include "model/tokenizer/pre_tokenizer.h"

namespace gritstone {
namespace {

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581, SentencePiece's space
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) text.replace(at, from.size(), to);
}

std::string token_bytes(const VocabToken& token, SymbolKind symbols) {
  switch (token.kind) {
    case TokenKind::kUnused:
      return {};
    case TokenKind::kByte:
      if (symbols == SymbolKind::kCharacters) return std::string(1, static_cast<char>(*byte_of_token_text(token.text)));
      return token.text;
    case TokenKind::kNormal:
      break;
    default:
      return token.text;
  }
  if (symbols == SymbolKind::kBytes) return bytes_of_spelling(token.text).value_or(token.text);
  std::string bytes = token.text;
  replace_all(bytes, kSpaceMark, " ");
  return bytes;
}

// Whether merging could join a U+2581 to something other than U+2581 before it.
bool any_token_crosses_a_mark(const Vocab& vocab) {
  for (const VocabToken& token : vocab.tokens) {
    if (token.kind != TokenKind::kNormal && token.kind != TokenKind::kUserDefined) continue;
    for (std::size_t at = token.text.find(kSpaceMark, 1); at != std::string::npos; at = token.text.find(kSpaceMark, at + 1)) {
      if (at < kSpaceMark.size() || token.text.compare(at - kSpaceMark.size(), kSpaceMark.size(), kSpaceMark) != 0) return true;
    }
  }
  return false;
}

}  // namespace

// What one encode() carries along.
struct BpeTokenizer::Encoding {
  std::vector<TokenId> ids;
  Bpe::Scratch scratch;
  std::string normalized, marked;
  bool at_start = true;  // nothing of the text has been encoded yet
};

// Appends the ids of the tokens found and hands what lies between them to `between`.
template <typename Between>
void BpeTokenizer::split_at_tokens(std::string_view text, const AddedTokens& tokens, Encoding& encoding, const Between& between) {
  std::size_t used = 0;
  for (std::size_t from = 0;;) {
    const auto match = tokens.find(text, from, used);
    const std::size_t end = match ? match->begin : text.size();
    if (end > used) {
      between(text.substr(used, end - used));
      encoding.at_start = false;
    }
    if (!match) return;
    encoding.ids.push_back(match->id);
    encoding.at_start = false;
    used = match->end;
    from = match->next;
  }
}

BpeTokenizer::BpeTokenizer(const Vocab& vocab)
    : bpe_((vocab.validate(), vocab)),
      symbols_(vocab.symbols),
      pre_tokenizer_(vocab.pre_tokenizer),
      nfc_(vocab.nfc),
      space_prefix_(vocab.space_prefix),
      prefix_before_space_(vocab.prefix_before_space),
      split_every_mark_(vocab.split_at_spaces),
      split_before_mark_(!any_token_crosses_a_mark(vocab)),
      every_byte_has_token_(true),
      bos_(vocab.bos),
      eos_(vocab.eos),
      pad_(vocab.pad),
      add_bos_(vocab.add_bos && vocab.bos >= 0),
      fingerprint_(vocab_fingerprint(vocab)) {
  for (unsigned byte = 0; byte < 256; ++byte) every_byte_has_token_ &= bpe_.expresses_byte(static_cast<std::uint8_t>(byte));
  bytes_.resize(vocab.tokens.size());
  special_.resize(vocab.tokens.size());
  by_bytes_.reserve(vocab.tokens.size());
  for (std::size_t id = 0; id < vocab.tokens.size(); ++id) add_token(static_cast<TokenId>(id), vocab.tokens[id]);
  for (Matchers* matchers : {&plain_, &parse_}) {
    matchers->raw.finish();
    matchers->normalized.finish();
  }
  collect_stop_ids(vocab);
}

void BpeTokenizer::add_token(TokenId id, const VocabToken& token) {
  const auto index = static_cast<std::size_t>(id);
  bytes_[index] = token_bytes(token, symbols_);
  special_[index] = token.kind == TokenKind::kControl || token.kind == TokenKind::kUnknown;
  if (token.kind == TokenKind::kUnused) return;
  const bool matched = special_[index] || token.kind == TokenKind::kUserDefined;
  if (matched) {
    std::string storage;
    // Over characters the normaliser only marks spaces, which the patterns are spared.
    const bool normalized = token.normalized && symbols_ == SymbolKind::kBytes;
    const std::string_view pattern = normalized && nfc_ ? nfc(token.text, storage) : std::string_view(token.text);
    for (Matchers* matchers : {&plain_, &parse_}) {
      if (matchers == &plain_ && special_[index]) continue;
      (normalized ? matchers->normalized : matchers->raw).add(pattern, id, token);
    }
  }
  const auto [at, added] = by_bytes_.try_emplace(bytes_[index], id);
  if (!added && matched) at->second = id;  // a token found as it is goes before one that merging may give
}

void BpeTokenizer::collect_stop_ids(const Vocab& vocab) {
  const auto add = [&](TokenId id) {
    if (id >= 0 && std::find(stop_ids_.begin(), stop_ids_.end(), id) == stop_ids_.end()) stop_ids_.push_back(id);
  };
  add(vocab.eos);
  add(vocab.eot);
  for (const TokenId id : vocab.more_eos) add(id);
  for (const char* text : {"<|im_end|>", "<|eot_id|>", "<|end|>", "<|endoftext|>"}) {
    if (const TokenId id = find(text); is_special(id)) add(id);
  }
}

bool BpeTokenizer::is_special(TokenId id) const noexcept {
  return id >= 0 && static_cast<std::size_t>(id) < special_.size() && special_[static_cast<std::size_t>(id)];
}

TokenId BpeTokenizer::find(std::string_view token) const {
  const auto found = by_bytes_.find(std::string(token));
  return found == by_bytes_.end() ? -1 : found->second;
}

std::string BpeTokenizer::decode(std::span<const TokenId> ids) const {
  std::string text;
  for (const TokenId id : ids) {
    if (id >= 0 && static_cast<std::size_t>(id) < bytes_.size()) text += bytes_[static_cast<std::size_t>(id)];
  }
  return text;
}

std::vector<TokenId> BpeTokenizer::encode(std::string_view text, SpecialTokens special) const {
  if (text.size() >= std::numeric_limits<std::uint32_t>::max()) {
    throw Error(ErrorCode::kInvalidArgument,
                "text of " + std::to_string(text.size()) + " bytes, at most 2^32 - 2 can be tokenised at once");
  }
  std::string repaired;
  if (!every_byte_has_token_ && !is_valid_utf8(text)) {
    repaired = replace_malformed(text);
    text = repaired;
  }
  const Matchers& matchers = special == SpecialTokens::kParse ? parse_ : plain_;
  Encoding encoding;
  encoding.ids.reserve(text.size() / 4 + 1);
  split_at_tokens(text, matchers.raw, encoding, [&](std::string_view between) { encode_normalized(between, matchers, encoding); });
  return std::move(encoding.ids);
}

void BpeTokenizer::encode_normalized(std::string_view text, const Matchers& matchers, Encoding& encoding) const {
  if (nfc_) text = nfc(text, encoding.normalized);
  split_at_tokens(text, matchers.normalized, encoding, [&](std::string_view between) { encode_segment(between, encoding); });
}

void BpeTokenizer::encode_segment(std::string_view text, Encoding& encoding) const {
  const bool prefix = space_prefix_ == SpacePrefix::kEverySegment || (space_prefix_ == SpacePrefix::kFirstSegment && encoding.at_start);
  const bool begins_with_space = text.front() == ' ' || (symbols_ == SymbolKind::kCharacters && text.starts_with(kSpaceMark));
  encoding.marked.clear();
  if (prefix && (prefix_before_space_ || !begins_with_space)) encoding.marked += ' ';
  if (symbols_ == SymbolKind::kCharacters) {
    encode_characters(text, encoding);
    return;
  }
  if (!encoding.marked.empty()) {
    encoding.marked += text;
    text = encoding.marked;
  }
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = next_word(pre_tokenizer_, text, at);
    bpe_.encode(text.substr(at, length), encoding.scratch, encoding.ids);
    at += length;
  }
}

// Cutting before a mark that follows something else is exact where no token holds such a mark inside, as in Llama's and Mistral's
// vocabularies: no merge can cross the cut, and the order of merges on its two sides does not matter.
void BpeTokenizer::encode_characters(std::string_view text, Encoding& encoding) const {
  std::string& marked = encoding.marked;
  replace_all(marked, " ", kSpaceMark);
  marked.reserve(text.size() + text.size() / 2);
  for (const char byte : text) {
    if (byte == ' ') {
      marked += kSpaceMark;
    } else {
      marked += byte;
    }
  }
  const std::string_view whole = marked;
  std::size_t begin = 0;
  const bool cut = split_every_mark_ || split_before_mark_;
  for (std::size_t at = 0; cut && (at = whole.find(kSpaceMark, at)) != std::string_view::npos; at += kSpaceMark.size()) {
    const bool after_mark = at >= begin + kSpaceMark.size() && whole.substr(at - kSpaceMark.size(), kSpaceMark.size()) == kSpaceMark;
    if (at == begin || (after_mark && !split_every_mark_)) continue;
    bpe_.encode(whole.substr(begin, at - begin), encoding.scratch, encoding.ids);
    begin = at;
  }
  bpe_.encode(whole.substr(begin), encoding.scratch, encoding.ids);
}

// Some vocabularies lack tokens for bytes that well-formed UTF-8 never or hardly ever has (OLMo: C0, C1, F5-FF). A malformed byte without
// a token becomes U+FFFD rather than vanish; the others stay.
std::string BpeTokenizer::replace_malformed(std::string_view text) const {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const Utf8Decoded decoded = decode_utf8(text, i);
    if (!decoded.valid && !bpe_.expresses_byte(static_cast<std::uint8_t>(text[i]))) {
      out += kReplacement;
    } else {
      out.append(text, i, decoded.length);
    }
    i += decoded.length;
  }
  return out;
}

}  // namespace gritstone
