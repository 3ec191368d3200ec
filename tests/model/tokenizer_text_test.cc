// Any bytes in, the same bytes out; special tokens only on request; no input is slow.
#include <gtest/gtest.h>

#include <chrono>
#include <random>

#include "base/utf8.h"
#include "model/tokenizer/normalizer.h"
#include "tokenizer_fixture.h"

namespace gritstone {
namespace {

std::string random_bytes(std::mt19937& random, std::size_t n) {
  std::string text(n, '\0');
  for (char& byte : text) byte = static_cast<char>(random());
  return text;
}

std::string random_unicode(std::mt19937& random, std::size_t n) {
  std::string text;
  for (std::size_t i = 0; i < n; ++i) {
    static constexpr char32_t kEnds[] = {0x80, 0x250, 0x3000, 0x10000, 0x110000};
    char32_t c = random() % kEnds[random() % std::size(kEnds)];
    if (c >= 0xD800 && c < 0xE000) c = ' ';
    append_utf8(text, c);
  }
  return text;
}

class RoundTrip : public testing::TestWithParam<const char*> {};
TEST_P(RoundTrip, ArbitraryBytes) {
  const auto tokenizer = make_tokenizer_from_hf(variant_tokenizer_json("bpe", GetParam()));
  std::mt19937 random(1);
  for (int i = 0; i < 400; ++i) {
    const std::string text = i % 2 == 0 ? random_bytes(random, random() % 300) : random_unicode(random, random() % 100);
    std::string storage;
    const bool normalizes = std::string_view(GetParam()) == "neox" || std::string_view(GetParam()) == "qwen2";
    const std::string expected(normalizes ? nfc(text, storage) : std::string_view(text));
    const std::vector<TokenId> ids = tokenizer->encode(text);
    ASSERT_EQ(tokenizer->decode(ids), expected) << "case " << i;
    for (const TokenId id : ids) ASSERT_FALSE(tokenizer->is_special(id));
  }
}
INSTANTIATE_TEST_SUITE_P(Tokenizer, RoundTrip, testing::Values("gpt2", "neox", "smollm", "llama3", "qwen2"));

TEST(TokenizerText, CharactersFallBackToBytes) {
  const auto tokenizer = make_tokenizer_from_hf(variant_tokenizer_json("spm", "gemma"));
  std::mt19937 random(2);
  for (int i = 0; i < 400; ++i) {
    std::string text = i % 2 == 0 ? random_bytes(random, random() % 300) : random_unicode(random, random() % 100);
    ASSERT_EQ(tokenizer->decode(tokenizer->encode(text)), text) << "case " << i;
  }
}

TEST(TokenizerText, MalformedBytesStayUnderNfc) {
  std::string storage;
  EXPECT_EQ(nfc("e\xCC\x81", storage), "\xC3\xA9");
  EXPECT_EQ(nfc("\xFF"
                "e\xCC\x81\xC3",
                storage),
            "\xFF\xC3\xA9\xC3");
  EXPECT_EQ(nfc("e\xFF\xCC\x81", storage), "e\xFF\xCC\x81");
  EXPECT_EQ(nfc("plain", storage), "plain");
  // Longer than one of ICU's stretches, with a combining mark at every place a cut could go wrong.
  std::string decomposed, composed;
  for (int i = 0; i < 500000; ++i) decomposed += "e\xCC\x81", composed += "\xC3\xA9";
  EXPECT_EQ(nfc(decomposed, storage), composed);
}

TEST(TokenizerText, BytesWithoutTokenBecomeReplacementOrNothing) {
  GgufVocab vocab = byte_vocab({"++", "\xEF\xBF\xBD"});
  vocab.token_type[0xFF] = 5;  // malformed
  vocab.token_type[0x04] = 5;  // a control character, as SmolLM2 lacks it
  const auto tokenizer = make_tokenizer(vocab);
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("x\xFFy")), "x\xEF\xBF\xBDy");
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("x\xFEy")), "x\xFEy");
  EXPECT_EQ(tokenizer->encode("+\x04+"), std::vector<TokenId>{tokenizer->find("++")}) << "as Hugging Face: left out before merging";
}

TEST(TokenizerText, SpecialTokensOnlyOnRequest) {
  const auto tokenizer = make_tokenizer(byte_vocab({"hello"}));
  const TokenId end = tokenizer->find("<|end|>");
  ASSERT_GE(end, 0);
  EXPECT_TRUE(tokenizer->is_special(end));
  EXPECT_EQ(tokenizer->eos(), end);
  EXPECT_EQ(tokenizer->stop_ids(), std::vector<TokenId>{end});
  const TokenId hello = tokenizer->find("hello");
  EXPECT_EQ(tokenizer->encode("hello<|end|>hello", SpecialTokens::kParse), (std::vector<TokenId>{hello, end, hello}));
  const std::vector<TokenId> plain = tokenizer->encode("hello<|end|>hello");
  EXPECT_EQ(std::count(plain.begin(), plain.end(), end), 0);
  EXPECT_EQ(tokenizer->decode(plain), "hello<|end|>hello");
  EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{hello, end, -1, 1 << 30}), "hello<|end|>");
}

// OLMoE-0125-Instruct: the end of text is named by an id whose token is not flagged as special and reads |||IP_ADDRESS|||.
TEST(TokenizerText, EndOfTextByIdIsSpecialWhateverItsFlags) {
  for (const char* text : {"|||IP_ADDRESS|||", "stop"}) {
    GgufVocab vocab = byte_vocab({"hello"});
    vocab.tokens.back() = text;
    vocab.token_type.back() = 4;
    const auto tokenizer = make_tokenizer(vocab);
    EXPECT_TRUE(tokenizer->is_special(tokenizer->eos()));
    const std::vector<TokenId> plain = tokenizer->encode(std::string("a ") + text + " b");
    EXPECT_EQ(std::count(plain.begin(), plain.end(), tokenizer->eos()), 0);
    EXPECT_EQ(tokenizer->encode(text, SpecialTokens::kParse), std::vector<TokenId>{tokenizer->eos()});
  }
}

TEST(TokenizerText, MergesNeverMakeAControlToken) {
  GgufVocab vocab = byte_vocab({"halt"});
  const auto halt = static_cast<TokenId>(vocab.tokens.size() - 2);
  ASSERT_EQ(make_tokenizer(vocab)->encode("halt"), std::vector<TokenId>{halt});
  vocab.token_type[static_cast<std::size_t>(halt)] = 3;
  const auto tokenizer = make_tokenizer(vocab);
  EXPECT_EQ(tokenizer->encode("halt"), (std::vector<TokenId>{tokenizer->find("hal"), 't'}));
  EXPECT_EQ(tokenizer->encode("halt", SpecialTokens::kParse), std::vector<TokenId>{halt});
}

TEST(TokenizerText, UserDefinedTokensMatchInEitherMode) {
  GgufVocab vocab = byte_vocab({"hello"});
  vocab.tokens.push_back("   ");
  vocab.token_type.push_back(4);
  const auto tokenizer = make_tokenizer(vocab);
  const TokenId spaces = tokenizer->find("   ");
  for (const SpecialTokens mode : {SpecialTokens::kPlain, SpecialTokens::kParse}) {
    EXPECT_EQ(tokenizer->encode("a       b", mode), (std::vector<TokenId>{'a', spaces, spaces, ' ', 'b'}));
  }
  EXPECT_FALSE(tokenizer->is_special(spaces));
}

TEST(TokenizerText, FingerprintFollowsWhatChangesIds) {
  const GgufVocab base = byte_vocab({"hello", "world"});
  const std::string fingerprint = make_tokenizer(base)->fingerprint();
  EXPECT_EQ(fingerprint.size(), 64u);
  EXPECT_EQ(make_tokenizer(base)->fingerprint(), fingerprint);
  GgufVocab pre = base, merges = base, type = base, eos = base, text = base;
  pre.pre = "smollm";
  std::swap(merges.merges[0], merges.merges[4]);
  type.token_type[300 - 40] = 4;
  eos.eos_token_id = 3;
  text.tokens.back() = "<|stop|>";
  for (const GgufVocab* changed : {&pre, &merges, &type, &eos, &text}) EXPECT_NE(make_tokenizer(*changed)->fingerprint(), fingerprint);
}

// Quadratic code would need minutes for these; the bound is wide, since sanitizers and loaded machines are slow.
TEST(TokenizerText, PathologicalTextsAreFast) {
  const auto byte_level = make_tokenizer_from_hf(variant_tokenizer_json("bpe", "neox"));
  const auto characters = make_tokenizer_from_hf(variant_tokenizer_json("spm", "legacy"));
  const std::size_t n = std::size_t{1} << 20;
  std::string cycle;
  for (std::size_t i = 0; i < n; ++i) cycle += static_cast<char>('a' + i * i % 26);
  std::string marks = "e";
  while (marks.size() < n) marks += "\xCC\x81\xCC\xA3";
  const std::string texts[] = {
      std::string(n, 'a'), std::string(n, ' '), std::string(n, '\n'), std::string(n, '<'), std::string(n, '\xFF'), cycle, marks};
  for (const std::string& text : texts) {
    for (const Tokenizer* tokenizer : {byte_level.get(), characters.get()}) {
      const auto begin = std::chrono::steady_clock::now();
      EXPECT_FALSE(tokenizer->encode(text, SpecialTokens::kParse).empty());
      EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20)) << text.substr(0, 8);
    }
  }
}

}  // namespace
}  // namespace gritstone
