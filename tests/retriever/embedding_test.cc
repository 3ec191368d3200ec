#include <cmath>
#include <cstring>

#include "retriever/grit_embedder.h"
#include "retriever/grit_format.h"
#include "retriever/manifest.h"
#include "retriever/pooling.h"
#include "tests/base/expect_error.h"
#include "tests/generator/fake_model.h"
#include "tests/model/tiny_model.h"

namespace gritstone {
namespace {

std::string format_text(const Tokenizer& tokenizer, EmbedOptions options, TextRole role, const std::string& instruction,
                        const std::string& text, EmbedTokens* out = nullptr) {
  const EmbedTokens tokens = format_for_embedding(tokenizer, options, role, instruction, text, 512);
  if (out != nullptr) *out = tokens;
  return tokenizer.decode(tokens.tokens);
}

std::string pooled_text(const Tokenizer& tokenizer, const EmbedTokens& t) {
  return tokenizer.decode(std::span(t.tokens).subspan(t.text_first, t.text_count));
}

TEST(GritFormat, PrefixesOfRolesAndPoolings) {
  const ByteTokenizer tokenizer;
  EmbedOptions options;
  EmbedTokens t;
  EXPECT_EQ(format_text(tokenizer, options, TextRole::kDocument, "ignored", "hello", &t), "<s><|embed|>\nhello");
  EXPECT_EQ(pooled_text(tokenizer, t), "hello");
  EXPECT_EQ(format_text(tokenizer, options, TextRole::kQuery, "Find it", "hello", &t), "<s><|user|>\nFind it\n<|embed|>\nhello");
  EXPECT_EQ(pooled_text(tokenizer, t), "hello");
  EXPECT_EQ(format_text(tokenizer, options, TextRole::kQuery, "", "hello"), "<s><|embed|>\nhello");
  options.pooling = Pooling::kEcho;
  EXPECT_EQ(format_text(tokenizer, options, TextRole::kDocument, "", "abc", &t), "<s><|embed|>\nabc\nabc");
  EXPECT_EQ(t.text_first, t.tokens.size() - 3);
  options.pooling = Pooling::kLast;
  EXPECT_EQ(format_text(tokenizer, options, TextRole::kDocument, "", "abc", &t), "<s>This sentence : \"abc\" means in one word:\"");
  EXPECT_EQ(t.pool_last, t.tokens.size() - 1);
  EXPECT_EQ(pooled_text(tokenizer, t), "abc");
  options.format = EmbedFormat::kRaw;
  EXPECT_EQ(format_text(tokenizer, options, TextRole::kDocument, "", "abc"), "abc");
  EXPECT_EQ(format_text(ByteTokenizer(true, true), options, TextRole::kDocument, "", "abc"), "<s>abc");
}

TEST(GritFormat, OlmoeStartsWithItsEndOfTextAndRolesAreEscaped) {
  const ByteTokenizer tokenizer(false);
  EmbedTokens t;
  const std::string text = format_text(tokenizer, {}, TextRole::kDocument, "", "a <|embed|>\n</s> b", &t);
  EXPECT_EQ(t.tokens.front(), ByteTokenizer::kEos);
  EXPECT_EQ(std::count_if(t.tokens.begin(), t.tokens.end(), [](TokenId id) { return id >= 256; }), 1);
  EXPECT_EQ(text.find("<|embed|>"), text.rfind("<|embed|>"));  // only our own
}

TEST(GritFormat, LongTextsAreCutAndCounted) {
  const ByteTokenizer tokenizer;
  EmbedOptions options;
  options.max_tokens = 10;
  EmbedTokens t = format_for_embedding(tokenizer, options, TextRole::kDocument, "", std::string(25, 'x'), 512);
  EXPECT_EQ(t.text_count, 10u);
  EXPECT_EQ(t.cut, 15u);
  // The model's context counts the prefix, and for echo both copies.
  options.max_tokens = 1000;
  options.pooling = Pooling::kEcho;
  t = format_for_embedding(tokenizer, options, TextRole::kDocument, "", std::string(200, 'x'), 112);
  EXPECT_EQ(t.tokens.size(), 112u);
  EXPECT_EQ(t.text_count, 50u);
  EXPECT_EQ(t.cut, 150u);
  EXPECT_GS_ERROR(format_for_embedding(tokenizer, options, TextRole::kDocument, "", "x", 5), ErrorCode::kInvalidArgument, "prefix needs");
  // No text at all still is a job.
  t = format_for_embedding(tokenizer, options, TextRole::kDocument, "", "", 112);
  EXPECT_GE(t.tokens.size(), 1u);
  EXPECT_EQ(t.text_count, 1u);
}

TEST(Pooling, UnitLength) {
  std::vector<float> row{3, 4}, zero(4);
  EXPECT_TRUE(normalise_l2(row));
  EXPECT_NEAR(dot(row, row), 1, 1e-6);
  EXPECT_FALSE(normalise_l2(zero));
}

std::vector<float> embed_one(const Embedder& embedder, const std::string& text) {
  std::vector<float> row(embedder.dim());
  EmbedRequest request;
  request.texts = std::span(&text, 1);
  embedder.embed(request, MatrixView<float>(row.data(), 1, row.size()));
  return row;
}

TEST(GritEmbedder, PoolsTheTextsOwnTokens) {
  const ByteTokenizer tokenizer;
  ScriptedEngine engine;
  for (const Pooling pooling : {Pooling::kMean, Pooling::kWeightedMean, Pooling::kLast, Pooling::kEcho}) {
    EmbedOptions options;
    options.pooling = pooling;
    const GritEmbedder embedder(engine, tokenizer, options);
    const std::vector<float> row = embed_one(embedder, "ab");
    std::vector<float> expected(engine.config().hidden);
    const std::vector<float> a = engine.state_of('a');
    const std::vector<float> b = engine.state_of('b');
    const std::vector<float> quote = engine.state_of('"');
    for (std::size_t i = 0; i < expected.size(); ++i) {
      expected[i] = pooling == Pooling::kLast ? quote[i] : pooling == Pooling::kWeightedMean ? a[i] + 2 * b[i] : a[i] + b[i];
    }
    ASSERT_TRUE(normalise_l2(expected));
    for (std::size_t i = 0; i < row.size(); ++i) EXPECT_NEAR(row[i], expected[i], 1e-6) << pooling_name(pooling) << " " << i;
  }
}

TEST(GritEmbedder, AsksForTheLayerAndAttention) {
  const ByteTokenizer tokenizer;
  ScriptedEngine engine;
  EmbedOptions options;
  options.layer = 1;
  embed_one(GritEmbedder(engine, tokenizer, options), "ab");
  EXPECT_EQ(engine.last_job().wants.normed_after, 1u);
  EXPECT_EQ(engine.last_job().attention, Attention::kBidirectional);
  EXPECT_EQ(engine.last_job().priority, Priority::kInteractive);
  options.layer = 3;
  EXPECT_GS_ERROR(GritEmbedder(engine, tokenizer, options), ErrorCode::kInvalidArgument, "layer 3 is outside the model's 1..2");
  options.layer = {};
  options.pooling = Pooling::kRouting;
  EXPECT_GS_ERROR(GritEmbedder(engine, tokenizer, options), ErrorCode::kInvalidArgument, "no experts");
}

TEST(GritEmbedder, RoutingTakesTheLastTokenOfEveryLayer) {
  const ByteTokenizer tokenizer;
  ScriptedEngine engine;
  engine.mutable_config().experts = 4;
  EmbedOptions options;
  options.pooling = Pooling::kRouting;
  options.format = EmbedFormat::kRaw;
  const GritEmbedder embedder(engine, tokenizer, options);
  EXPECT_EQ(embedder.dim(), 8u);
  const std::vector<float> row = embed_one(embedder, "ab");
  std::vector<float> expected{98, 99, 100, 101, 198, 199, 200, 201};  // id of 'b' is 98, see ScriptedEngine
  ASSERT_TRUE(normalise_l2(expected));
  for (std::size_t i = 0; i < row.size(); ++i) EXPECT_NEAR(row[i], expected[i], 1e-6);
}

TEST(GritEmbedder, CountsTokensCutsAndKeepsSpans) {
  const ByteTokenizer tokenizer;
  ScriptedEngine engine;
  EmbedOptions options;
  options.max_tokens = 4;
  const GritEmbedder embedder(engine, tokenizer, options);
  const std::vector<std::string> texts{"abc", "abcdefgh"};
  std::vector<float> rows(2 * embedder.dim());
  EmbedRequest request;
  request.texts = texts;
  request.keep_spans = KvType::kInt8;
  request.bulk = true;
  const EmbedResult result = embedder.embed(request, MatrixView<float>(rows.data(), 2, embedder.dim()));
  EXPECT_EQ(result.tokens, (std::vector<std::size_t>{3, 4}));
  EXPECT_EQ(result.cut, (std::vector<std::size_t>{0, 4}));
  EXPECT_EQ(result.truncated(), 1u);
  ASSERT_EQ(result.spans.size(), 2u);
  EXPECT_EQ(result.spans[0]->tokens, 3u);
  EXPECT_EQ(result.spans[0]->type, KvType::kInt8);
  EXPECT_EQ((std::vector<std::uint8_t>(result.spans[0]->bytes.begin(), result.spans[0]->bytes.begin() + 3)),
            (std::vector<std::uint8_t>{'a', 'b', 'c'}));
  EXPECT_EQ(engine.last_job().priority, Priority::kBulk);
  EXPECT_GS_ERROR(embedder.embed(request, MatrixView<float>(rows.data(), 1, embedder.dim())), ErrorCode::kInvalidArgument, "[1, 32]");
  std::stop_source stop;
  stop.request_stop();
  request.cancel = stop.get_token();
  EXPECT_GS_ERROR(embedder.embed(request, MatrixView<float>(rows.data(), 2, embedder.dim())), ErrorCode::kCancelled, "cancelled");
}

// The real engine on random weights: rows do not depend on the batch, every pooling and layer gives unit rows.
TEST(GritEmbedder, RealEngineGivesTheSameBitsAloneAndInABatch) {
  ModelConfig config = tiny_config();
  config.vocab = ByteTokenizer::kVocab;
  config.eos = ByteTokenizer::kEos;
  const TinyModel model(config);
  EngineOptions engine_options;
  engine_options.threads = 2;
  const auto engine = Engine::create(model, engine_options);
  const ByteTokenizer tokenizer(false);
  std::vector<std::string> texts;
  for (int i = 0; i < 70; ++i)
    texts.push_back(std::string(static_cast<std::size_t>(1 + i * 3 % 90), static_cast<char>('a' + i % 26)) + " end");
  for (const Pooling pooling : {Pooling::kMean, Pooling::kWeightedMean, Pooling::kLast, Pooling::kEcho, Pooling::kRouting}) {
    EmbedOptions options;
    options.pooling = pooling;
    options.attention = pooling == Pooling::kMean ? Attention::kBidirectional : Attention::kCausal;
    options.layer = 2;
    const GritEmbedder embedder(*engine, tokenizer, options);
    std::vector<float> rows(texts.size() * embedder.dim());
    EmbedRequest request;
    request.texts = texts;
    embedder.embed(request, MatrixView<float>(rows.data(), texts.size(), embedder.dim()));
    for (const std::size_t i : {std::size_t{0}, std::size_t{33}, std::size_t{69}}) {
      const std::span<const float> row(rows.data() + i * embedder.dim(), embedder.dim());
      EXPECT_NEAR(dot(row, row), 1, 1e-5);
      const std::vector<float> alone = embed_one(embedder, texts[i]);
      EXPECT_EQ(std::memcmp(alone.data(), row.data(), row.size() * sizeof(float)), 0) << pooling_name(pooling) << " " << i;
    }
  }
}

EmbedderManifest example_manifest() {
  EmbedderManifest m;
  m.model_name = "tiny \"quoted\"";
  m.model_hash = std::string(64, 'a');
  m.tokenizer = std::string(64, 'b');
  m.options.pooling = Pooling::kWeightedMean;
  m.options.attention = Attention::kCausal;
  m.options.layer = 2;
  m.dim = 3;
  m.wants_statistics = true;
  return m;
}

TEST(Manifest, RoundTripsExactly) {
  EmbedderManifest m = example_manifest();
  m.statistics = EmbedStatistics{77, {0.1f, -1e-20f, 3.0f}, {0, 1, 2}, {1, 0.5f, 2}, {{1, 0, 0}, {0, 0.6f, 0.8f}}};
  const auto back = manifest_from_json(manifest_to_json(m));
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(back->statistics, m.statistics);
  EXPECT_EQ(back->model_name, m.model_name);
  EXPECT_EQ(manifest_difference(*back, m), "");
  EXPECT_EQ(manifest_to_json(*back), manifest_to_json(m));
  EXPECT_FALSE(manifest_from_json("{}").has_value());
}

TEST(Manifest, NamesTheDifferenceAndTheWayOut) {
  const EmbedderManifest stored = example_manifest();
  EmbedderManifest other = stored;
  other.options.pooling = Pooling::kMean;
  EXPECT_GS_ERROR(require_same_embedder(stored, other, "notes"), ErrorCode::kInvalidArgument,
                  "pooling is weighted-mean, this command uses mean");
  EXPECT_GS_ERROR(require_same_embedder(stored, other, "notes"), ErrorCode::kInvalidArgument, "gritstone collection reembed -c notes");
  other = stored;
  other.model_hash[0] = 'c';
  EXPECT_NE(manifest_difference(stored, other).find("model is"), std::string::npos);
  other = stored;
  other.options.layer = 1;
  EXPECT_NE(manifest_difference(stored, other).find("layer is 2"), std::string::npos);
  other = stored;
  other.options.query_instruction = "another";  // of queries: vectors stay comparable
  EXPECT_EQ(manifest_difference(stored, other), "");
}

TEST(Manifest, DamageIsReported) {
  const std::string good = manifest_to_json(example_manifest());
  EmbedderManifest remote;
  remote.remote = RemoteEmbedding{"http://localhost:1/v1", "mini", "q: ", ""};
  remote.model_name = "mini";
  remote.dim = 384;
  const std::string by_url = manifest_to_json(remote);
  const auto read = manifest_from_json(by_url);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->remote, remote.remote);
  EXPECT_EQ(read->dim, 384u);
  EXPECT_TRUE(read->tuned());
  EXPECT_FALSE(read->wants_statistics);
  std::string kind = by_url;
  kind.replace(kind.find("\"url\""), 5, "\"ftp\"");
  EXPECT_GS_ERROR(manifest_from_json(kind), ErrorCode::kDamagedData, "unknown kind \"ftp\"");
  EXPECT_GS_ERROR(manifest_from_json("[1]"), ErrorCode::kDamagedData, "not an object");
  EXPECT_GS_ERROR(manifest_from_json(good.substr(0, 40)), ErrorCode::kDamagedData, "embedder manifest");
  std::string newer = good;
  newer.replace(newer.find("\"version\":1"), 11, "\"version\":9");
  EXPECT_GS_ERROR(manifest_from_json(newer), ErrorCode::kDamagedData, "version 9");
  std::string pooling = good;
  pooling.replace(pooling.find("weighted-mean"), 13, "weighted-moan");
  EXPECT_GS_ERROR(manifest_from_json(pooling), ErrorCode::kDamagedData, "weighted-moan");
  EmbedderManifest with = example_manifest();
  with.statistics = EmbedStatistics{5, {1, 2, 3}, {}, {2, 2, 2}, {}};
  std::string shorter = manifest_to_json(with);
  shorter.replace(shorter.find("0000803f"), 8, "");
  EXPECT_GS_ERROR(manifest_from_json(shorter), ErrorCode::kDamagedData, "mean has 16 digits, expected 24");
}

}  // namespace
}  // namespace gritstone
