// Ids equal to Hugging Face's and llama.cpp's.
#include <gtest/gtest.h>

#include <fstream>

#include "model/tokenizer/bpe_tokenizer.h"
#include "tokenizer_fixture.h"

namespace gritstone {
namespace {

void expect_golden(const Tokenizer& tokenizer, const std::string& variant) {
  const rapidjson::Document texts = parse_json(tokenizer_golden("texts.json"), "texts.json");
  const rapidjson::Document all = parse_json(tokenizer_golden("golden.json"), "golden.json");
  const rapidjson::Value& golden = all[variant.c_str()];
  ASSERT_GT(texts.Size(), 100u);
  for (rapidjson::SizeType i = 0; i < texts.Size(); ++i) {
    const std::string text = json_bytes(texts[i]);
    const std::vector<TokenId> parsed = json_ids(golden["parse"][i]);
    EXPECT_EQ(tokenizer.encode(text, SpecialTokens::kParse), parsed) << variant << ": " << json_text(texts[i]);
    const auto plain = golden["plain"].FindMember(std::to_string(i).c_str());
    const std::vector<TokenId> expected = plain == golden["plain"].MemberEnd() ? parsed : json_ids(plain->value);
    EXPECT_EQ(tokenizer.encode(text, SpecialTokens::kPlain), expected) << variant << " (plain): " << json_text(texts[i]);
    EXPECT_EQ(tokenizer.count(text), expected.size());
  }
}

class ByteLevelGolden : public testing::TestWithParam<const char*> {};
TEST_P(ByteLevelGolden, EqualsHuggingFace) {
  const auto tokenizer = make_tokenizer_from_hf(variant_tokenizer_json("bpe", GetParam()));
  expect_golden(*tokenizer, std::string("bpe.") + GetParam());
}
INSTANTIATE_TEST_SUITE_P(Tokenizer, ByteLevelGolden, testing::Values("gpt2", "neox", "smollm", "llama3", "qwen2", "prefix"));

class CharacterGolden : public testing::TestWithParam<const char*> {};
TEST_P(CharacterGolden, EqualsHuggingFace) {
  const auto tokenizer = make_tokenizer_from_hf(variant_tokenizer_json("spm", GetParam()));
  expect_golden(*tokenizer, std::string("spm.") + GetParam());
}
INSTANTIATE_TEST_SUITE_P(Tokenizer, CharacterGolden, testing::Values("legacy", "first", "always", "gemma"));

GgufVocab spm_gguf() {
  const rapidjson::Document source = parse_json(tokenizer_golden("spm_vocab.json"), "spm_vocab.json");
  GgufVocab vocab;
  vocab.model = "llama";
  for (const auto& token : source["tokens"].GetArray()) vocab.tokens.push_back(json_bytes(token));
  for (const auto& type : source["token_type"].GetArray()) vocab.token_type.push_back(type.GetInt());
  for (const auto& score : source["scores"].GetArray()) vocab.scores.push_back(static_cast<float>(score.GetDouble()));
  vocab.bos_token_id = 1;
  vocab.eos_token_id = 2;
  vocab.unknown_token_id = 0;
  return vocab;
}

TEST(TokenizerGolden, ScoresEqualLlamaCpp) { expect_golden(*make_tokenizer(spm_gguf()), "gguf.llama"); }

TEST(TokenizerGolden, BpeThroughGgufGivesTheSameIds) {
  for (const char* variant : {"gpt2", "neox", "smollm", "llama3", "qwen2"}) {
    const Vocab vocab = vocab_from_hf_json(variant_tokenizer_json("bpe", variant));
    const GgufVocab gguf = gguf_from_vocab(vocab);
    const auto tokenizer = make_tokenizer(gguf);
    const BpeTokenizer direct(vocab);
    const rapidjson::Document texts = parse_json(tokenizer_golden("texts.json"), "texts.json");
    for (const auto& text : texts.GetArray()) {
      // GGUF does not carry lstrip, rstrip and single_word.
      const std::string bytes = json_bytes(text);
      if (bytes.find("<mask>") != std::string::npos || bytes.find("<right>") != std::string::npos ||
          bytes.find("wordy") != std::string::npos) {
        continue;
      }
      EXPECT_EQ(tokenizer->encode(bytes, SpecialTokens::kParse), direct.encode(bytes, SpecialTokens::kParse)) << variant << json_text(text);
    }
  }
}

TEST(TokenizerGolden, OlmoEqualsHuggingFace) {
  const auto data = shared_tokenizer_data();
  if (!data) GTEST_SKIP() << "set GRITSTONE_SHARED_DATA to the folder that holds tokenizer/olmo_golden.jsonl";
  const auto tokenizer = make_tokenizer_from_hf(read_file(*data / "olmo_tokenizer.json", std::uint64_t{1} << 26));
  std::ifstream lines(*data / "olmo_golden.jsonl");
  std::size_t count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    const rapidjson::Document golden = parse_json(line, "olmo_golden.jsonl");
    EXPECT_EQ(tokenizer->encode(json_bytes(golden["text"]), SpecialTokens::kParse), json_ids(golden["ids"])) << line;
  }
  EXPECT_EQ(count, 327u);
}

// MPT has OLMo's merges but no NFC.
TEST(TokenizerGolden, MptEqualsLlamaCpp) {
  const auto data = shared_tokenizer_data();
  if (!data) GTEST_SKIP() << "set GRITSTONE_SHARED_DATA to the folder that holds tokenizer/mpt_golden.inp";
  Vocab vocab = vocab_from_hf_json(read_file(*data / "olmo_tokenizer.json", std::uint64_t{1} << 26));
  vocab.nfc = false;
  const BpeTokenizer tokenizer(vocab);
  const std::string input = read_file(*data / "mpt_golden.inp", std::uint64_t{1} << 20);
  std::ifstream output(*data / "mpt_golden.out");
  constexpr std::string_view kSeparator = "\n__ggml_vocab_test__\n";
  std::size_t count = 0;
  for (std::size_t begin = 0; begin <= input.size(); ++count) {
    const std::size_t end = std::min(input.find(kSeparator, begin), input.size());
    const std::string text = input.substr(begin, end - begin);
    begin = end + kSeparator.size();
    std::string line;
    if (!std::getline(output, line)) break;
    std::istringstream numbers(line);
    std::vector<TokenId> expected;
    for (TokenId id; numbers >> id;) expected.push_back(id);
    EXPECT_EQ(tokenizer.encode(text), expected) << "entry " << count << ": " << text;
  }
  EXPECT_GT(count, 40u);
}

}  // namespace
}  // namespace gritstone
