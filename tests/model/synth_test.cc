#include "model/synth.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "model/synth_blocks.h"
#include "model/synth_vocab.h"
#include "tests/base/expect_error.h"
#include "tests/base/temp_directory.h"
#include "tests/model/micro_model.h"

namespace gritstone {
namespace {

TEST(RandomRows, MeanAndDeviationOfEveryType) {
  for (const DType type : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1, DType::kQ8_0,
                           DType::kQ2_K, DType::kQ3_K, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K}) {
    for (const float sigma : {1.0f, 0.02f}) {
      constexpr std::size_t kColumns = 2048, kRows = 32;
      const RandomRows random(type, kColumns, sigma);
      std::vector<std::uint8_t> row(random.row_bytes());
      std::vector<float> values(kColumns);
      double sum = 0, square = 0;
      for (std::size_t r = 0; r < kRows; ++r) {
        random.fill(random_key(1, "tensor", r), row.data());
        dequantize_row(type, row.data(), values.data(), kColumns);
        for (const float v : values) sum += v, square += static_cast<double>(v) * v;
      }
      const double n = kColumns * kRows;
      EXPECT_NEAR(std::sqrt(square / n) / sigma, 1.0, 0.02) << traits(type).name;
      // Five standard errors of the mean; a type whose codes are off centre would be far out.
      EXPECT_NEAR(sum / n / sigma, 0.0, 5.0 / std::sqrt(n)) << traits(type).name;
    }
  }
}

TEST(RandomRows, RowsDependOnTheKeyAlone) {
  const RandomRows random(DType::kQ4_K, 512, 1.0f);
  std::vector<std::uint8_t> a(random.row_bytes()), b(random.row_bytes(), 0xFF);
  random.fill(random_key(1, "t", 5), a.data());
  random.fill(random_key(1, "t", 5), b.data());
  EXPECT_EQ(a, b);
  std::set<std::uint64_t> keys;
  for (const char* name : {"t", "u", "tt", ""}) {
    for (std::uint64_t seed = 0; seed < 10; ++seed) {
      for (std::uint64_t i = 0; i < 10; ++i) keys.insert(random_key(seed, name, i));
    }
  }
  EXPECT_EQ(keys.size(), 400u);
}

TEST(SyntheticVocab, IsLikeOlmoesInItsIds) {
  const GgufVocab vocab = synthetic_vocab(50304);
  ASSERT_EQ(vocab.tokens.size(), 50304u);
  ASSERT_EQ(vocab.token_type.size(), 50304u);
  EXPECT_EQ(vocab.eos_token_id, 50279u);
  EXPECT_EQ(vocab.padding_token_id, 1u);
  EXPECT_EQ(vocab.token_type[1], 3);
  EXPECT_EQ(vocab.token_type[50279], 3);
  EXPECT_EQ(vocab.token_type[50278], 1);
  EXPECT_EQ(std::set<std::string>(vocab.tokens.begin(), vocab.tokens.end()).size(), 50304u);
  EXPECT_EQ(vocab.merges.size(), 50279u - 258u);
}

class SynthFile : public ::testing::Test {
 protected:
  std::unique_ptr<ModelFile> make(const std::string& name, SynthOptions options = {}) {
    options.like = "tiny";
    options.output = directory_ / name;
    synthesize_model(options);
    return ModelFile::open(options.output);
  }
  TempDirectory directory_;
};

TEST_F(SynthFile, OpensWithItsTokenizer) {
  const auto model = make("m.gguf");
  EXPECT_EQ(model->config().architecture, Architecture::kOlmoe);
  EXPECT_EQ(model->config().experts, 8u);
  EXPECT_EQ(model->find("blk.0.attn_q.weight")->type, DType::kQ4_K);
  EXPECT_EQ(model->find("blk.0.ffn_gate_inp.weight")->type, DType::kF32);
  for (const float v : values_of(*model->find("blk.1.attn_q_norm.weight"))) EXPECT_EQ(v, 1.0f);
  const auto tokenizer = model->tokenizer();
  EXPECT_EQ(tokenizer->eos(), model->config().eos);
  EXPECT_TRUE(tokenizer->is_special(tokenizer->eos()));
  const std::string text = "The quick brown fox: 42 µm, \n\ttabs & <|endoftext|> 日本";
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), text);
  EXPECT_LT(tokenizer->encode("the rain on the house").size(), 13u);  // merges apply: 21 letters
  EXPECT_EQ(tokenizer->encode("<|endoftext|>", SpecialTokens::kParse), std::vector<TokenId>{tokenizer->eos()});
}

TEST_F(SynthFile, SameOptionsGiveTheSameBytes) {
  SynthOptions options;
  options.type = DType::kQ8_0;
  make("a.gguf", options);
  make("b.gguf", options);
  EXPECT_EQ(file_bytes(directory_ / "a.gguf"), file_bytes(directory_ / "b.gguf"));
  options.seed = 2;
  make("c.gguf", options);
  EXPECT_NE(file_bytes(directory_ / "a.gguf"), file_bytes(directory_ / "c.gguf"));
}

TEST_F(SynthFile, VocabularyOfAnotherModel) {
  const auto first = make("a.gguf");
  SynthOptions options;
  options.tokenizer = directory_ / "a.gguf";
  const auto second = make("b.gguf", options);
  EXPECT_EQ(second->tokenizer()->fingerprint(), first->tokenizer()->fingerprint());
  write_micro_gguf(directory_ / "none.gguf", micro_config(Architecture::kLlama));
  options.tokenizer = directory_ / "none.gguf";
  EXPECT_GS_ERROR(make("c.gguf", options), ErrorCode::kModelRejected, "has no tokenizer");
}

TEST_F(SynthFile, StopLeavesNothingBehind) {
  SynthOptions options;
  options.like = "tiny";
  options.output = directory_ / "m.gguf";
  std::stop_source stop;
  const auto progress = [&](std::uint64_t done, std::uint64_t total) {
    if (done > total / 2) stop.request_stop();
  };
  EXPECT_GS_ERROR(synthesize_model(options, progress, stop.get_token()), ErrorCode::kCancelled, "stopped");
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path()));
  options.like = "gpt-5";
  EXPECT_GS_ERROR(synthesize_model(options), ErrorCode::kInvalidArgument, "olmoe-1b-7b, smollm2-135m, tiny");
}

// Share of routing slots that each expert of a layer gets when the layer sees the normalised embeddings of `tokens` tokens, largest first,
// in units of the mean.
std::vector<double> expert_load(const ModelFile& model, const char* router_name, std::size_t tokens) {
  const ModelConfig& c = model.config();
  const std::vector<float> embedding = values_of(*model.find("token_embd.weight"));
  const std::vector<float> router = values_of(*model.find(router_name));
  std::vector<double> load(c.experts);
  for (std::size_t t = 0; t < tokens; ++t) {
    const float* x = embedding.data() + t * c.hidden;
    const double rms = std::sqrt(std::inner_product(x, x + c.hidden, x, 0.0) / static_cast<double>(c.hidden));
    std::vector<std::pair<double, std::size_t>> logits;
    for (std::size_t e = 0; e < c.experts; ++e) {
      logits.emplace_back(std::inner_product(x, x + c.hidden, router.data() + e * c.hidden, 0.0) / rms, e);
    }
    std::partial_sort(logits.begin(), logits.begin() + static_cast<std::ptrdiff_t>(c.experts_used), logits.end(), std::greater<>());
    for (std::size_t k = 0; k < c.experts_used; ++k)
      load[logits[k].second] += static_cast<double>(c.experts) / static_cast<double>(c.experts_used * tokens);
  }
  std::sort(load.rbegin(), load.rend());
  return load;
}

TEST_F(SynthFile, ZipfRoutingIsSkewedAndUniformIsNot) {
  SynthOptions options;
  const auto uniform = make("u.gguf", options);
  options.routing = SynthRouting::kZipf;
  const auto zipf = make("z.gguf", options);
  for (const char* router : {"blk.0.ffn_gate_inp.weight", "blk.1.ffn_gate_inp.weight"}) {
    const auto even = expert_load(*uniform, router, 4000), skewed = expert_load(*zipf, router, 4000);
    EXPECT_LT(even.front(), 1.15) << router;
    EXPECT_GT(even.back(), 0.85) << router;
    // Logits of standard deviation 1 lowered by 0.4 ln(rank): 1.8 times the mean for the first of 8 experts, 0.6 for the last.
    EXPECT_NEAR(skewed.front(), 1.8, 0.2) << router;
    EXPECT_NEAR(skewed.back(), 0.6, 0.15) << router;
  }
  // The order of the experts differs from layer to layer.
  EXPECT_NE(values_of(*zipf->find("blk.0.ffn_gate_inp.weight")), values_of(*zipf->find("blk.1.ffn_gate_inp.weight")));
}

}  // namespace
}  // namespace gritstone
