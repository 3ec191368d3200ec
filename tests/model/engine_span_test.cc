// States that the engine gives away and takes back: the same bits, wherever they come from and whatever is computed again beside them.
#include <cmath>
#include <cstring>

#include "tests/model/engine_fixture.h"

namespace gritstone {
namespace {

class EngineSpans : public EngineTest {};

TEST_P(EngineSpans, SpansComposeToTheSameBits) {
  const std::vector<TokenId> tokens = random_tokens(100, 7);
  auto e = engine();
  Job job = logits_job(tokens);
  const std::vector<float> expected = e->run(job).logits;
  Job prefix;
  prefix.tokens.assign(tokens.begin(), tokens.begin() + 70);
  prefix.wants.kv = {{0, 70, GetParam().kv}};
  const auto span = e->run(prefix).kv.at(0);
  EXPECT_EQ(span->tokens, 70u);
  Job rest;
  rest.context = {Segment{span, 0, 40, 0, 0, 0}, Segment{span, 40, 30, 40, 40, 0}};
  rest.tokens.assign(tokens.begin() + 70, tokens.end());
  rest.wants.logits = Wants::Logits::kAll;
  const std::vector<float> logits = e->run(rest).logits;
  EXPECT_TRUE(std::equal(logits.begin(), logits.end(), expected.begin() + 70 * 97));
}

// The other half of reuse: some tokens of a stored span are computed again between those that stay.
TEST_P(EngineSpans, TokensComputedAgainInPlaceEqualTheWhole) {
  const std::vector<TokenId> tokens = random_tokens(100, 8);
  auto e = engine();
  const std::vector<float> expected = e->run(logits_job(tokens)).logits;
  Job whole;
  whole.tokens = tokens;
  whole.wants.kv = {{0, 100, GetParam().kv}};
  const auto span = e->run(whole).kv.at(0);
  Job some;
  some.context = {Segment{span, 0, 20, 0, 0, 0}, Segment{span, 23, 50, 23, 23, 0}, Segment{span, 74, 16, 74, 74, 0}};
  some.runs = {TokenRun{0, 3, 20, 20, kSeesAll}, TokenRun{3, 1, 73, 73, kSeesAll}, TokenRun{4, 10, 90, 90, kSeesAll}};
  for (const std::size_t slot : {20, 21, 22, 73, 90, 91, 92, 93, 94, 95, 96, 97, 98, 99}) some.tokens.push_back(tokens[slot]);
  some.wants.logits = Wants::Logits::kAll;
  some.wants.kv = {{0, 3, GetParam().kv}};
  const JobOutput output = e->run(some);
  EXPECT_TRUE(std::equal(output.logits.begin(), output.logits.begin() + 97, expected.begin() + 20 * 97));
  EXPECT_TRUE(std::equal(output.logits.end() - 10 * 97, output.logits.end(), expected.begin() + 90 * 97));
  const KvSpan& again = *output.kv.at(0);
  const std::size_t row = kv_row_bytes(GetParam().kv, again.shape.head_dim);
  for (const bool value : {false, true}) {
    EXPECT_TRUE(std::equal(again.plane(1, value, 0), again.plane(1, value, 0) + 3 * row, span->plane(1, value, 0) + 20 * row));
  }
  some.wants.kv = {{2, 2, GetParam().kv}};
  EXPECT_EQ(code_of([&] { e->run(some); }), ErrorCode::kInvalidArgument) << "slots 22 and 73 are not consecutive";
}

TEST_P(EngineSpans, ProbeReturnsTheProjectionsThatAreStored) {
  const std::vector<TokenId> tokens = random_tokens(80, 9);
  auto e = engine();
  Job job;
  job.tokens = tokens;
  job.wants.kv = {{0, 80, KvType::kF32}};
  const auto saved = e->run(job).kv.at(0);
  const KvSpan& span = *saved;
  std::vector<std::future<JobOutput>> jobs;  // beside others, whose rows stand before and behind the probe's
  for (std::size_t layer = 0; layer < e->config().layers; ++layer) {
    Job probe;
    probe.tokens = tokens;
    probe.wants.kv_probe = layer;
    jobs.push_back(e->submit(std::move(probe)));
  }
  const std::size_t dim = span.shape.head_dim, width = span.shape.kv_heads * dim;
  for (std::size_t layer = 0; layer < jobs.size(); ++layer) {
    const JobOutput output = jobs[layer].get();
    ASSERT_EQ(output.probe.size(), 80 * 2 * width);
    // The span was rounded to the live type, the probe was not.
    const float tolerance = GetParam().kv == KvType::kF32 ? 0.0f : GetParam().kv == KvType::kBF16 ? 0.02f : 0.06f;
    for (std::size_t t = 0; t < 80; ++t) {
      for (std::size_t i = 0; i < 2 * width; ++i) {
        const bool value = i >= width;
        float stored;
        std::memcpy(&stored, span.plane(layer, value, i % width / dim) + (t * dim + i % dim) * 4, 4);
        ASSERT_NEAR(output.probe[t * 2 * width + i], stored, tolerance * (0.3f + std::abs(stored))) << layer << " " << t << " " << i;
      }
    }
  }
  Job beyond;
  beyond.tokens = tokens;
  beyond.wants.kv_probe = e->config().layers;
  EXPECT_EQ(code_of([&] { e->run(beyond); }), ErrorCode::kInvalidArgument);
}

// Spans of another type than the live one: as close as the type, and always the same.
TEST_P(EngineSpans, SpansAtRestAreConvertedOnTheWay) {
  auto e = engine();
  const std::vector<TokenId> tokens = random_tokens(300, 10);
  const std::vector<float> expected = e->run(logits_job(tokens)).logits;
  for (const KvType type : {KvType::kF32, KvType::kBF16, KvType::kInt8, KvType::kInt4}) {
    Job prefix;
    prefix.tokens.assign(tokens.begin(), tokens.begin() + 290);
    prefix.wants.kv = {{0, 290, type}};
    const auto span = e->run(prefix).kv.at(0);
    EXPECT_EQ(span->type, type);
    EXPECT_EQ(span->bytes.size(), span->total_bytes());
    Job rest;
    rest.context = {Segment{span, 0, 131, 0, 0, 0}, Segment{span, 131, 159, 131, 131, 0}};
    rest.tokens.assign(tokens.begin() + 290, tokens.end());
    rest.wants.logits = Wants::Logits::kAll;
    const std::vector<float> logits = e->run(rest).logits;
    EXPECT_EQ(e->run(rest).logits, logits);
    float largest = 0, difference = 0;
    for (std::size_t i = 0; i < logits.size(); ++i) {
      largest = std::max(largest, std::abs(expected[290 * 97 + i]));
      difference = std::max(difference, std::abs(logits[i] - expected[290 * 97 + i]));
    }
    if (type == GetParam().kv || type == KvType::kF32) {
      // int8 rows are not a fixed point of decoding and encoding.
      EXPECT_LE(difference, type == GetParam().kv || GetParam().kv != KvType::kInt8 ? 0.0f : largest * 0.02f);
    } else {
      EXPECT_LT(difference, largest * (type == KvType::kInt4 ? 0.5f : 0.15f));
    }
  }
}

// A chunk computed alone behind the head means the same as one computed beside others that it cannot see. Not the same bits: attention's
// blocks are counted from slot 0, and the chunks lie in other slots.
TEST_P(EngineSpans, GroupsComputedTogetherEqualStoredSpans) {
  auto e = engine();
  const std::vector<TokenId> head = random_tokens(5, 11), first = random_tokens(40, 12), second = random_tokens(30, 13),
                             question = random_tokens(9, 14);
  Job fresh;
  for (const auto* part : {&head, &first, &second, &question}) fresh.tokens.insert(fresh.tokens.end(), part->begin(), part->end());
  // Every passage takes the positions right behind the head, as when it is computed alone; the question follows the longest.
  fresh.runs = {TokenRun{0, 5, 0, 0, 0}, TokenRun{5, 40, 5, 5, 1}, TokenRun{45, 30, 45, 5, 2}, TokenRun{75, 9, 75, 45, kSeesAll}};
  fresh.wants.logits = Wants::Logits::kAll;
  const std::vector<float> expected = e->run(fresh).logits;

  Job head_job;
  head_job.tokens = head;
  head_job.wants.kv = {{0, 5, GetParam().kv}};
  const auto head_span = e->run(head_job).kv.at(0);
  const auto passage = [&](const std::vector<TokenId>& tokens) {
    Job job;
    job.context = {Segment{head_span, 0, 5, 0, 0, 0}};
    job.tokens = tokens;
    job.wants.kv = {{0, tokens.size(), GetParam().kv}};
    return e->run(job).kv.at(0);
  };
  Job composed;
  composed.context = {Segment{head_span, 0, 5, 0, 0, 0}, Segment{passage(first), 0, 40, 5, 5, 1},
                      Segment{passage(second), 0, 30, 45, 5, 2}};
  composed.tokens = question;
  composed.runs = {TokenRun{0, 9, 75, 45, kSeesAll}};
  composed.wants.logits = Wants::Logits::kAll;
  const std::vector<float> logits = e->run(composed).logits;
  ASSERT_EQ(logits.size(), 9u * 97);
  float largest = 0, difference = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    largest = std::max(largest, std::abs(expected[75 * 97 + i]));
    difference = std::max(difference, std::abs(logits[i] - expected[75 * 97 + i]));
  }
  EXPECT_LT(difference, largest * (GetParam().kv == KvType::kF32 ? 1e-5f : 0.03f));
  // The groups matter: with everything visible to everyone the answer is another.
  for (TokenRun& run : fresh.runs) run.group = kSeesAll;
  const std::vector<float> mixed = e->run(fresh).logits;
  float change = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) change = std::max(change, std::abs(mixed[75 * 97 + i] - expected[75 * 97 + i]));
  EXPECT_GT(change, largest * 0.1f);
}

INSTANTIATE_TEST_SUITE_P(All, EngineSpans, engine_modes(), mode_name);

}  // namespace
}  // namespace gritstone
