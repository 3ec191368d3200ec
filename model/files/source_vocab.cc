#include "model/files/source_vocab.h"

#include <algorithm>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/checked_file.h"
#include "base/error.h"
#include "base/mapped_file.h"
#include "model/files/gguf_config.h"
#include "model/files/gguf_reader.h"
#include "model/tokenizer/vocab.h"

namespace gritstone {
namespace {

constexpr std::uint64_t kMaxBytes = 64 << 20;

std::string read_optional(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(path, ignored) ? read_file(path, kMaxBytes) : std::string();
}

// SentencePiece merges any two pieces whose text is a token, best score first; Hugging Face merges listed pairs in order. For vocabularies
// that were converted from SentencePiece both agree when a token's score falls with the rank of the first merge that makes it.
void scores_from_merges(Vocab& vocab) {
  std::unordered_map<std::string, std::size_t> rank;
  for (std::size_t i = 0; i < vocab.merges.size(); ++i) {
    const auto& [left, right] = vocab.merges[i];
    rank.emplace(vocab.tokens[static_cast<std::size_t>(left)].text + vocab.tokens[static_cast<std::size_t>(right)].text, i);
  }
  vocab.scores.assign(vocab.tokens.size(), 0.0f);
  for (std::size_t id = 0; id < vocab.tokens.size(); ++id) {
    if (vocab.tokens[id].kind != TokenKind::kNormal) continue;
    const auto it = rank.find(vocab.tokens[id].text);
    // Pieces that no merge makes (single characters) come last, as in SentencePiece's own files.
    vocab.scores[id] = -static_cast<float>(it == rank.end() ? vocab.merges.size() : it->second);
  }
  vocab.merges.clear();
}

}  // namespace

std::optional<GgufVocab> read_source_vocab(const std::filesystem::path& source) {
  if (!std::filesystem::is_directory(source)) {
    const MappedFile mapping(source);
    const GgufFile file(mapping.bytes(), source.string());
    if (file.find("tokenizer.ggml.tokens") == nullptr) return std::nullopt;
    return gguf_vocab(file, source.string());
  }
  const std::string tokenizer = read_optional(source / "tokenizer.json");
  if (tokenizer.empty()) return std::nullopt;
  std::string generation = read_optional(source / "generation_config.json");
  if (generation.empty()) generation = read_optional(source / "config.json");
  Vocab vocab = vocab_from_hf_json(tokenizer, read_optional(source / "tokenizer_config.json"), generation);
  if (vocab.symbols == SymbolKind::kCharacters && vocab.scores.empty()) scores_from_merges(vocab);
  return gguf_from_vocab(vocab);
}

}  // namespace gritstone
