// Files that are wrong are refused with a reason; nothing crashes, nothing is guessed.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "base/error.h"
#include "tokenizer_fixture.h"

namespace gritstone {
namespace {

void expect_rejected(const std::function<void()>& make, const std::string& reason) {
  try {
    make();
    ADD_FAILURE() << "accepted; expected: " << reason;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kModelRejected) << error.what();
    EXPECT_NE(std::string(error.what()).find(reason), std::string::npos) << error.what() << "; expected: " << reason;
  }
}

void expect_gguf_rejected(const std::function<void(GgufVocab&)>& damage, const std::string& reason) {
  GgufVocab vocab = byte_vocab({"hello"});
  damage(vocab);
  expect_rejected([&] { make_tokenizer(vocab); }, reason);
}

TEST(TokenizerHostile, Gguf) {
  using V = GgufVocab&;
  expect_gguf_rejected([](V v) { v.model = "bert"; }, "model \"bert\"");
  expect_gguf_rejected([](V v) { v.pre = "mystery"; }, "pre-tokenizer \"mystery\"");
  expect_gguf_rejected([](V v) { v.tokens.clear(), v.token_type.clear(); }, "");
  expect_gguf_rejected([](V v) { v.merges.clear(); }, "merges is missing");
  expect_gguf_rejected([](V v) { v.token_type.pop_back(); }, "token types for");
  expect_gguf_rejected([](V v) { v.token_type[5] = 9; }, "has type 9");
  expect_gguf_rejected([](V v) { v.tokens[5] = v.tokens[4]; }, "repeats the text");
  expect_gguf_rejected([](V v) { v.tokens[5].clear(); }, "token 5 is empty");
  expect_gguf_rejected([](V v) { v.tokens[5] = std::string(70000, 'x'); }, "70000 bytes");
  expect_gguf_rejected([](V v) { v.tokens.back() = std::string(600, 'x'); }, "600 bytes");
  expect_gguf_rejected([](V v) { v.merges[0] = "no_space"; }, "expected two tokens");
  expect_gguf_rejected([](V v) { v.merges[0] = " "; }, "expected two tokens");
  expect_gguf_rejected([](V v) { v.merges[0] = ""; }, "expected two tokens");
  expect_gguf_rejected([](V v) { v.merges[0] = "h unheard"; }, "unknown token");
  expect_gguf_rejected([](V v) { v.merges[0] = "z z"; }, "is no token");
  expect_gguf_rejected([](V v) { v.merges.push_back(v.merges[0]); }, "are the same");
  expect_gguf_rejected([](V v) { v.eos_token_id = 4000000000u; }, "eos_token_id is 4000000000");
  expect_gguf_rejected([](V v) { v.bos_token_id = static_cast<std::uint32_t>(v.tokens.size()); }, "bos_token_id");
  expect_gguf_rejected([](V v) { v.model = "llama"; }, "scores is missing");
  const auto scored = [](V v) { v.model = "llama", v.merges.clear(), v.scores.assign(v.tokens.size(), 0); };
  expect_gguf_rejected([&](V v) { scored(v), v.scores.pop_back(); }, "scores for");
  expect_gguf_rejected([&](V v) { scored(v), v.scores[7] = std::nanf(""); }, "not finite");
  expect_gguf_rejected([&](V v) { scored(v), v.scores[7] = std::numeric_limits<float>::infinity(); }, "not finite");
  expect_gguf_rejected([&](V v) { scored(v), v.token_type[3] = 6; }, "expected <0xNN>");
  expect_gguf_rejected(
      [&](V v) {
        scored(v);
        for (int i = 0; i < 256; ++i) v.tokens[static_cast<std::size_t>(i)] = std::string(60000, 'y') + std::to_string(i);
      },
      "too long");
}

TEST(TokenizerHostile, MergesInACycleEnd) {
  // a+a=aa, aa+a=aaa, a+aa is not there: text may be cut in any way, but it must end.
  GgufVocab vocab = byte_vocab({"aaa"});
  vocab.merges.insert(vocab.merges.begin(), "a aa");
  const auto tokenizer = make_tokenizer(vocab);
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(std::string(1000, 'a'))), std::string(1000, 'a'));
}

std::string small_json(const std::string& model_members,
                       const std::string& root_members = R"("pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false})") {
  return "{" + root_members + (root_members.empty() ? "" : ",") + R"("model":{"type":"BPE",)" + model_members + "}}";
}
const std::string kModel = R"("vocab":{"a":0,"b":1,"ab":2},"merges":["a b"])";
const std::string kByteLevel = R"("pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false})";

TEST(TokenizerHostile, SmallJsonIsFineAsItIs) {
  const auto tokenizer = make_tokenizer_from_hf(small_json(kModel));
  EXPECT_EQ(tokenizer->encode("abba"), (std::vector<TokenId>{2, 1, 0}));
  EXPECT_EQ(make_tokenizer_from_hf(small_json(R"("vocab":{"a":0,"b":1,"ab":2},"merges":[["a","b"]])"))->encode("ab"),
            std::vector<TokenId>{2});
}

TEST(TokenizerHostile, Json) {
  const auto reject = [](const std::string& json, const std::string& reason) {
    expect_rejected([&] { make_tokenizer_from_hf(json); }, reason);
  };
  const auto model = [&](const std::string& members, const std::string& reason) { reject(small_json(members), reason); };
  const auto root = [&](const std::string& members, const std::string& reason) { reject(small_json(kModel, members), reason); };
  reject("", "tokenizer.json");
  reject("[]", "no model");
  reject("{}", "no model");
  reject(R"({"model":[]})", "no model");
  reject(R"({"model":{"type":"Unigram"}})", "Unigram");
  reject(std::string(100, '['), "nested deeper");
  model(R"("vocab":{"a":0})", "merges is missing");
  model(R"("merges":[])", "vocab is missing");
  model(R"("vocab":[],"merges":[])", "vocab is missing");
  model(R"("vocab":{"a":0},"merges":[])", "neither merges nor scores");
  model(R"("vocab":{"a":0,"b":0},"merges":["a b"])", "the same id 0");
  model(R"("vocab":{"a":0,"a":1},"merges":["a a"])", "duplicate key");
  model(R"("vocab":{"a":-1},"merges":["a a"])", "must be an integer");
  model(R"("vocab":{"a":1.5},"merges":["a a"])", "must be an integer");
  model(R"("vocab":{"a":"0"},"merges":["a a"])", "must be an integer");
  model(R"("vocab":{"a":99999999999},"merges":["a a"])", "must be an integer");
  model(R"("vocab":{"a":2000000},"merges":["a a"])", "ids up to 2000000");
  model(R"("vocab":{"":0,"a":1},"merges":["a a"])", "is empty");
  model(R"("vocab":{"a":0,"b":1,"ab":2},"merges":["a c"])", "\"c\", which is no token");
  model(R"("vocab":{"a":0,"b":1},"merges":["a b"])", "\"ab\", which is no token");
  model(R"("vocab":{"a":0,"b":1,"ab":2},"merges":["a b","a b"])", "are the same");
  model(R"("vocab":{"a":0,"b":1,"ab":2},"merges":["ab"])", "merge 0");
  model(R"("vocab":{"a":0,"b":1,"ab":2},"merges":[["a","b","c"]])", "merge 0");
  model(R"("vocab":{"a":0,"b":1,"ab":2},"merges":[["a",1]])", "merge 0");
  model(kModel + R"(,"dropout":0.1)", "dropout");
  model(kModel + R"(,"end_of_word_suffix":"</w>")", "end_of_word_suffix");
  model(kModel + R"(,"unk_token":"?")", "unk_token");
  root("", "neither ByteLevel nor");
  root(R"("normalizer":{"type":"NFKC"},)" + kByteLevel, "NFKC");
  root(R"("pre_tokenizer":{"type":"Whitespace"})", "Whitespace");
  root(
      R"("pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"(a+)+$"},"behavior":"Isolated","invert":false},{"type":"ByteLevel","use_regex":false,"add_prefix_space":false}]})",
      "(a+)+$");
  root(R"("pre_tokenizer":{"type":"Sequence"})", "Sequence");
  root(R"("added_tokens":{},)" + kByteLevel, "added_tokens");
  root(R"("added_tokens":[{"id":7}],)" + kByteLevel, "no content");
  root(R"("added_tokens":[{"id":1,"content":"x"}],)" + kByteLevel, "the same id 1");
  root(R"("added_tokens":[{"id":1,"content":"a"}],)" + kByteLevel, "has id 1");
  root(R"("added_tokens":[{"id":1900000,"content":"x"}],)" + kByteLevel, "has id 1900000");
  root(R"("added_tokens":[{"id":3,"content":")" + std::string(600, 'x') + R"("}],)" + kByteLevel, "600 bytes");
  expect_rejected([] { make_tokenizer_from_hf(small_json(kModel), "{"); }, "tokenizer_config.json");
  expect_rejected([] { make_tokenizer_from_hf(small_json(kModel), R"({"eos_token":7})"); }, "eos_token");
  expect_rejected([] { make_tokenizer_from_hf(small_json(kModel), {}, R"({"eos_token_id":"x"})"); }, "eos_token_id");
}

TEST(TokenizerHostile, EveryTruncationOfAFileIsRejected) {
  const std::string whole = variant_tokenizer_json("bpe", "neox");
  for (std::size_t length = 0; length < whole.size(); length += 1 + whole.size() / 97) {
    EXPECT_THROW(make_tokenizer_from_hf(std::string_view(whole).substr(0, length)), Error);
  }
}

TEST(TokenizerHostile, SpecialIdsFromTheFilesBesideIt) {
  const std::string json = small_json(
      kModel, R"("added_tokens":[{"id":3,"content":"<s>","special":true},{"id":5,"content":"<e>","special":false}],)" + kByteLevel);
  const auto named = make_tokenizer_from_hf(json, R"({"bos_token":{"content":"<s>"},"eos_token":"<e>","add_bos_token":true})");
  EXPECT_EQ(named->bos(), 3);
  EXPECT_EQ(named->eos(), 5);
  EXPECT_EQ(named->pad(), -1);
  EXPECT_TRUE(named->adds_bos());
  EXPECT_TRUE(named->is_special(5)) << "named as eos, though not flagged";
  EXPECT_EQ(named->vocab_size(), 6u);
  EXPECT_EQ(named->decode(std::vector<TokenId>{4}), "") << "id 4 is a hole";
  const auto by_id = make_tokenizer_from_hf(json, R"({"eos_token":"<s>"})", R"({"eos_token_id":[5,3,77],"pad_token_id":1000})");
  EXPECT_EQ(by_id->eos(), 5) << "ids go before names";
  EXPECT_EQ(by_id->stop_ids(), (std::vector<TokenId>{5, 3}));
  EXPECT_EQ(by_id->pad(), -1) << "a row beyond the tokenizer's vocabulary";
  EXPECT_FALSE(by_id->adds_bos());
}

}  // namespace
}  // namespace gritstone
