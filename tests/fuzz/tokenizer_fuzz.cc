// Tokenizer files and texts from strangers: anything may be refused, nothing may crash, hang or lose bytes.
// The first byte chooses: 0 a tokenizer.json (text after the first NUL), 1 and 2 fixed vocabularies with the rest as text, 3 a GGUF
// vocabulary spelled line by line.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/utf8.h"
#include "model/tokenizer/byte_alphabet.h"
#include "model/tokenizer/make_tokenizer.h"
#include "model/tokenizer/role_escape.h"

namespace {

using namespace gritstone;

void require(bool condition) {
  if (!condition) __builtin_trap();
}

void exercise(const Tokenizer& tokenizer, std::string_view text, bool lossless) {
  const std::vector<TokenId> plain = tokenizer.encode(text);
  for (const TokenId id : plain) {
    require(id >= 0 && static_cast<std::size_t>(id) < tokenizer.vocab_size());
    require(!lossless || !tokenizer.is_special(id));
  }
  const std::string decoded = tokenizer.decode(plain);
  require(!lossless || decoded == text);
  tokenizer.decode(tokenizer.encode(text, SpecialTokens::kParse));
  const std::string escaped = escape_roles(text);
  require(escape_roles(escaped) == escaped);
}

// Lines: "t<type digit><text>", "m<left> <right>", "p<pre>"; everything else is the text to encode.
void fuzz_gguf(std::string_view input) {
  GgufVocab vocab;
  vocab.model = "gpt2";
  std::string text;
  while (!input.empty()) {
    const std::size_t end = std::min(input.find('\n'), input.size());
    const std::string_view line = input.substr(0, end);
    input.remove_prefix(std::min(end + 1, input.size()));
    if (line.size() > 2 && line[0] == 't') {
      vocab.token_type.push_back(line[1] - '0');
      vocab.tokens.emplace_back(line.substr(2));
      vocab.scores.push_back(static_cast<float>(vocab.tokens.back().size()));
    } else if (line.size() > 1 && line[0] == 'm') {
      vocab.merges.emplace_back(line.substr(1));
    } else if (line.size() > 1 && line[0] == 'p') {
      vocab.pre = line.substr(1);
    } else {
      text += line;
    }
  }
  if (vocab.merges.empty()) {
    vocab.model = "llama";
  } else {
    vocab.scores.clear();
  }
  exercise(*make_tokenizer(vocab), text, false);
}

// The 256 bytes, some merges, a run of spaces and a control token.
GgufVocab byte_vocabulary() {
  GgufVocab vocab;
  vocab.model = "gpt2";
  vocab.pre = "smollm";
  for (int byte = 0; byte < 256; ++byte) vocab.tokens.push_back(spelling_of_bytes(std::string(1, static_cast<char>(byte))));
  vocab.token_type.assign(256, 1);
  for (const char* pair : {"t h", "th e", "a a", "aa aa", "e r", "i n", "in g"}) {
    std::string product = pair;
    product.erase(product.find(' '), 1);
    vocab.tokens.push_back(product);
    vocab.token_type.push_back(1);
    vocab.merges.emplace_back(pair);
  }
  vocab.tokens.insert(vocab.tokens.end(), {"    ", "<|end|>"});
  vocab.token_type.insert(vocab.token_type.end(), {4, 3});
  vocab.eos_token_id = static_cast<std::uint32_t>(vocab.tokens.size() - 1);
  return vocab;
}

GgufVocab scored_vocabulary() {
  GgufVocab vocab;
  vocab.model = "llama";
  const auto add = [&](const std::string& text, std::int32_t type, float score) {
    vocab.tokens.push_back(text);
    vocab.token_type.push_back(type);
    vocab.scores.push_back(score);
  };
  add("<unk>", 2, 0);
  add("<s>", 3, 0);
  constexpr char kHex[] = "0123456789ABCDEF";
  for (int byte = 0; byte < 256; ++byte) add(std::string("<0x") + kHex[byte / 16] + kHex[byte % 16] + ">", 6, 0);
  float score = 0;
  for (const char* text : {"th", "the", "aa", "aaaa", "\xE2\x96\x81", "\xE2\x96\x81t", "\xE2\x96\x81the", "t", "h", "e", "a"})
    add(text, 1, score -= 1);
  vocab.add_space_prefix = false;
  return vocab;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto bytes = make_tokenizer(byte_vocabulary());
  static const auto scored = make_tokenizer(scored_vocabulary());
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    switch (data[0] % 4) {
      case 0: {
        const std::size_t nul = std::min(input.find('\0'), input.size());
        const auto tokenizer = make_tokenizer_from_hf(input.substr(0, nul));
        exercise(*tokenizer, input.substr(std::min(nul + 1, input.size())), false);
        break;
      }
      case 1:
        exercise(*bytes, input, true);
        break;
      case 2:
        // U+2581 in the text becomes a space, in SentencePiece as well.
        exercise(*scored, input, input.find("\xE2\x96\x81") == std::string_view::npos);
        break;
      case 3:
        fuzz_gguf(input);
        break;
    }
  } catch (const Error& error) {
    require(error.code() == ErrorCode::kModelRejected);
  }
  return 0;
}
