#include "model/synth_vocab.h"

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "model/tokenizer/byte_alphabet.h"

namespace gritstone {
namespace {

constexpr std::string_view kLetters = "etaoinshrdlcumwfgypbvkjxqz";  // by frequency in English
constexpr std::size_t kSpecialsAtEnd = 25;
constexpr std::int32_t kNormal = 1;
constexpr std::int32_t kControl = 3;

// Adds merges until the vocabulary has `limit` tokens.
class MergeWriter {
 public:
  MergeWriter(GgufVocab& vocab, std::size_t limit) : vocab_(vocab), limit_(limit) {}

  void add(const std::string& left, const std::string& right) {
    if (vocab_.tokens.size() >= limit_) return;
    vocab_.tokens.push_back(left + right);
    vocab_.merges.push_back(left + " " + right);
  }

 private:
  GgufVocab& vocab_;
  std::size_t limit_;
};

// All pairs of letters, frequent ones first.
std::vector<std::string> letter_pairs() {
  std::vector<std::string> pairs;
  for (std::size_t diagonal = 0; diagonal <= 2 * (kLetters.size() - 1); ++diagonal) {
    for (std::size_t i = 0; i < kLetters.size(); ++i) {
      if (i > diagonal || diagonal - i >= kLetters.size()) continue;
      pairs.push_back({kLetters[i], kLetters[diagonal - i]});
    }
  }
  return pairs;
}

}  // namespace

GgufVocab synthetic_vocab(std::size_t size) {
  GS_CHECK(size >= 320);
  GgufVocab vocab;
  vocab.model = "gpt2";
  vocab.tokens = {"<|reserved_0|>", "<|padding|>"};
  for (unsigned byte = 0; byte < 256; ++byte) vocab.tokens.push_back(spelling_of_bytes(std::string(1, static_cast<char>(byte))));

  const std::string space = spelling_of_bytes(" ");
  const std::vector<std::string> pairs = letter_pairs();
  const std::size_t end_of_text = size - kSpecialsAtEnd;
  MergeWriter merges(vocab, end_of_text);
  // Every product is spelled once: the groups differ in length or in the leading space, and within a group the cut is at a fixed place.
  for (const std::string& pair : pairs) merges.add(pair.substr(0, 1), pair.substr(1));
  for (const char letter : kLetters) merges.add(space, std::string(1, letter));
  for (const std::string& pair : pairs) merges.add(space, pair);
  for (const std::string& pair : pairs) {
    for (const char letter : kLetters) merges.add(pair, std::string(1, letter));
  }
  for (std::size_t diagonal = 0; diagonal <= 2 * (pairs.size() - 1); ++diagonal) {
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      if (i <= diagonal && diagonal - i < pairs.size()) merges.add(space + pairs[i], pairs[diagonal - i]);
    }
  }

  vocab.token_type.assign(vocab.tokens.size(), kNormal);
  vocab.token_type[0] = vocab.token_type[1] = kControl;
  vocab.tokens.push_back("<|endoftext|>");
  while (vocab.tokens.size() < size) vocab.tokens.push_back("<|reserved_" + std::to_string(vocab.tokens.size() - end_of_text) + "|>");
  vocab.token_type.resize(size, kControl);
  vocab.bos_token_id = static_cast<std::uint32_t>(end_of_text);
  vocab.eos_token_id = static_cast<std::uint32_t>(end_of_text);
  vocab.padding_token_id = 1;
  vocab.add_bos_token = false;
  return vocab;
}

}  // namespace gritstone
