// Between GGUF metadata and Vocab.
#include <algorithm>
#include <string_view>
#include <unordered_map>

#include "base/error.h"
#include "model/tokenizer/vocab.h"

namespace gritstone {
namespace {

[[noreturn]] void reject(const std::string& reason) { throw Error(ErrorCode::kModelRejected, "tokenizer: " + reason); }

struct Pre {
  std::string_view name;
  PreTokenizer kind;
  // The models' own tokenizers normalise (tokenizer.json of OLMo, OLMoE, GPT-NeoX, Pythia, Qwen2); GGUF does not record it and llama.cpp
  // leaves it out.
  bool nfc = false;
  bool ignore_merges = false;
  bool add_bos = false;  // where tokenizer.ggml.add_bos_token is absent
};

// Values of tokenizer.ggml.pre, as llama.cpp's converter writes them.
constexpr Pre kPres[] = {
    {"", PreTokenizer::kGpt2},
    {"default", PreTokenizer::kGpt2},
    {"gpt-2", PreTokenizer::kGpt2},
    {"phi-2", PreTokenizer::kGpt2},
    {"mpt", PreTokenizer::kGpt2},
    {"olmo", PreTokenizer::kGpt2, true},
    {"gpt-neox", PreTokenizer::kGpt2, true},
    {"gptneox", PreTokenizer::kGpt2, true},
    {"pythia", PreTokenizer::kGpt2, true},
    {"smollm", PreTokenizer::kSmolLm},
    {"starcoder", PreTokenizer::kSmolLm},
    {"refact", PreTokenizer::kSmolLm},
    {"llama3", PreTokenizer::kLlama3, false, true, true},
    {"llama-v3", PreTokenizer::kLlama3, false, true, true},
    {"llama-bpe", PreTokenizer::kLlama3, false, true, true},
    {"dbrx", PreTokenizer::kLlama3},
    {"smaug-bpe", PreTokenizer::kLlama3},
    {"qwen2", PreTokenizer::kQwen2, true},
    {"deepseek-r1-qwen", PreTokenizer::kQwen2, true},
    {"stablelm2", PreTokenizer::kQwen2},
};

const Pre& find_pre(std::string_view name) {
  const auto* found = std::find_if(std::begin(kPres), std::end(kPres), [&](const Pre& pre) { return pre.name == name; });
  if (found != std::end(kPres)) return *found;
  std::string known;
  for (const Pre& pre : kPres) {
    if (!pre.name.empty()) known += (known.empty() ? "" : ", ") + std::string(pre.name);
  }
  reject("pre-tokenizer \"" + std::string(name.substr(0, 80)) + "\" is not supported (known: " + known + ")");
}

TokenKind kind_of_type(std::int32_t type, std::size_t id) {
  switch (type) {
    case 0:  // "undefined" in the format's list; llama.cpp reads it as ordinary
    case 1:
      return TokenKind::kNormal;
    case 2:
      return TokenKind::kUnknown;
    case 3:
      return TokenKind::kControl;
    case 4:
      return TokenKind::kUserDefined;
    case 5:
      return TokenKind::kUnused;
    case 6:
      return TokenKind::kByte;
    default:
      reject("token " + std::to_string(id) + " has type " + std::to_string(type) + ", known are 0 to 6");
  }
}

std::int32_t type_of_kind(TokenKind kind) {
  switch (kind) {
    case TokenKind::kNormal:
      return 1;
    case TokenKind::kUnknown:
      return 2;
    case TokenKind::kControl:
      return 3;
    case TokenKind::kUserDefined:
      return 4;
    case TokenKind::kUnused:
      return 5;
    case TokenKind::kByte:
      return 6;
  }
  GS_CHECK(false);
}

void read_tokens(const GgufVocab& source, Vocab& vocab) {
  const std::size_t n = source.tokens.size();
  if (n > Vocab::kMaxTokens) reject(std::to_string(n) + " tokens, at most " + std::to_string(Vocab::kMaxTokens));
  if (!source.token_type.empty() && source.token_type.size() != n) {
    reject(std::to_string(source.token_type.size()) + " token types for " + std::to_string(n) + " tokens");
  }
  vocab.tokens.resize(n);
  for (std::size_t id = 0; id < n; ++id) {
    vocab.tokens[id].text = source.tokens[id];
    if (!source.token_type.empty()) {
      vocab.tokens[id].kind = kind_of_type(source.token_type[id], id);
    } else {
      vocab.tokens[id].kind = looks_like_control(source.tokens[id]) ? TokenKind::kControl : TokenKind::kNormal;
    }
  }
}

void read_merges(const GgufVocab& source, Vocab& vocab) {
  if (source.merges.empty()) reject("tokenizer.ggml.merges is missing");
  if (source.merges.size() > Vocab::kMaxMerges) reject(std::to_string(source.merges.size()) + " merges");
  std::unordered_map<std::string_view, TokenId> by_text;
  by_text.reserve(vocab.tokens.size());
  for (std::size_t id = 0; id < vocab.tokens.size(); ++id) {
    const auto [at, added] = by_text.try_emplace(vocab.tokens[id].text, static_cast<TokenId>(id));
    if (!added && vocab.tokens[id].kind == TokenKind::kNormal) at->second = static_cast<TokenId>(id);
  }
  vocab.merges.reserve(source.merges.size());
  for (std::size_t rank = 0; rank < source.merges.size(); ++rank) {
    const std::string_view merge = source.merges[rank];
    const std::size_t space = merge.find(' ', 1);
    if (space == std::string_view::npos || space + 1 == merge.size()) {
      reject("merge " + std::to_string(rank) + " is \"" + std::string(merge.substr(0, 80)) + "\", expected two tokens");
    }
    const auto left = by_text.find(merge.substr(0, space));
    const auto right = by_text.find(merge.substr(space + 1));
    if (left == by_text.end() || right == by_text.end()) {
      reject("merge " + std::to_string(rank) + " \"" + std::string(merge.substr(0, 80)) + "\" names an unknown token");
    }
    vocab.merges.emplace_back(left->second, right->second);
  }
}

TokenId read_id(const std::optional<std::uint32_t>& id, std::size_t vocab_size, const char* key) {
  if (!id) return -1;
  if (*id >= vocab_size) {
    reject(std::string("tokenizer.ggml.") + key + " is " + std::to_string(*id) + ", the vocabulary has " + std::to_string(vocab_size));
  }
  return static_cast<TokenId>(*id);
}

}  // namespace

Vocab vocab_from_gguf(const GgufVocab& source) {
  Vocab vocab;
  read_tokens(source, vocab);
  if (source.model == "gpt2") {
    const Pre& pre = find_pre(source.pre);
    vocab.symbols = SymbolKind::kBytes;
    vocab.pre_tokenizer = pre.kind;
    vocab.nfc = pre.nfc;
    vocab.ignore_merges = pre.ignore_merges;
    vocab.add_bos = source.add_bos_token.value_or(pre.add_bos);
    vocab.space_prefix = source.add_space_prefix.value_or(false) ? SpacePrefix::kEverySegment : SpacePrefix::kNone;
    read_merges(source, vocab);
  } else if (source.model == "llama") {
    vocab.symbols = SymbolKind::kCharacters;
    vocab.pre_tokenizer = PreTokenizer::kWhole;
    vocab.add_bos = source.add_bos_token.value_or(true);
    vocab.space_prefix = source.add_space_prefix.value_or(true) ? SpacePrefix::kEverySegment : SpacePrefix::kNone;
    vocab.prefix_before_space = true;
    if (source.scores.empty()) reject("tokenizer.ggml.scores is missing");
    vocab.scores = source.scores;
  } else {
    reject("model \"" + source.model.substr(0, 80) + "\" is not supported (known: gpt2, llama)");
  }
  vocab.bos = read_id(source.bos_token_id, vocab.tokens.size(), "bos_token_id");
  vocab.eos = read_id(source.eos_token_id, vocab.tokens.size(), "eos_token_id");
  vocab.eot = read_id(source.eot_token_id, vocab.tokens.size(), "eot_token_id");
  vocab.pad = read_id(source.padding_token_id, vocab.tokens.size(), "padding_token_id");
  vocab.unk = read_id(source.unknown_token_id, vocab.tokens.size(), "unknown_token_id");
  // A Vocab finds them in its normalised text; where nothing is normalised that makes no difference.
  for (VocabToken& token : vocab.tokens) token.normalized = token.kind == TokenKind::kUserDefined;
  vocab.mark_control_tokens();
  vocab.validate();
  return vocab;
}

GgufVocab gguf_from_vocab(const Vocab& vocab) {
  GgufVocab out;
  if (vocab.symbols == SymbolKind::kCharacters) {
    if (vocab.scores.empty()) reject("GGUF has no form for merges over characters");
    out.model = "llama";
    out.scores = vocab.scores;
  } else {
    out.model = "gpt2";
    const auto* pre = std::find_if(std::begin(kPres), std::end(kPres), [&](const Pre& candidate) {
      return !candidate.name.empty() && candidate.name != "default" && candidate.kind == vocab.pre_tokenizer &&
             candidate.nfc == vocab.nfc && candidate.ignore_merges == vocab.ignore_merges;
    });
    if (pre == std::end(kPres)) reject("GGUF has no name for this combination of pre-tokenizer and normalisation");
    out.pre = pre->name;
    for (const auto& [left, right] : vocab.merges) {
      out.merges.push_back(vocab.tokens[static_cast<std::size_t>(left)].text + " " + vocab.tokens[static_cast<std::size_t>(right)].text);
    }
  }
  for (std::size_t id = 0; id < vocab.tokens.size(); ++id) {
    const VocabToken& token = vocab.tokens[id];
    // llama.cpp keys tokens by their text and wants each to have one.
    out.tokens.push_back(token.text.empty() ? "[PAD" + std::to_string(id) + "]" : token.text);
    out.token_type.push_back(type_of_kind(token.kind));
  }
  const auto optional_id = [](TokenId id) { return id < 0 ? std::nullopt : std::optional<std::uint32_t>(static_cast<std::uint32_t>(id)); };
  out.bos_token_id = optional_id(vocab.bos);
  out.eos_token_id = optional_id(vocab.eos);
  out.eot_token_id = optional_id(vocab.eot);
  out.padding_token_id = optional_id(vocab.pad);
  out.unknown_token_id = optional_id(vocab.unk);
  out.add_bos_token = vocab.add_bos;
  out.add_space_prefix = vocab.space_prefix != SpacePrefix::kNone;
  return out;
}

}  // namespace gritstone
