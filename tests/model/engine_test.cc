// The engine's promises on a tiny model: results do not depend on batch, split, threads or where states came from.
#include "model/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <thread>

#include "base/error.h"
#include "tests/model/tiny_model.h"

namespace gritstone {
namespace {

std::unique_ptr<Engine> make_engine(const ModelFile& file, ComputeMode compute = ComputeMode::kFast, KvType kv = KvType::kBF16,
                                    std::size_t threads = 2, std::size_t batch = 64) {
  EngineOptions options;
  options.compute = compute;
  options.kv_type = kv;
  options.threads = threads;
  options.max_batch_tokens = batch;
  options.kv_slots = 4096;
  return Engine::create(file, options);
}

Job logits_job(std::vector<TokenId> tokens) {
  Job job;
  job.tokens = std::move(tokens);
  job.wants.logits = Wants::Logits::kAll;
  return job;
}

ErrorCode code_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << "no error";
  return ErrorCode::kPartial;
}

struct Mode {
  DType type;
  ComputeMode compute;
  KvType kv;
};

std::string mode_name(const ::testing::TestParamInfo<Mode>& info) {
  const char* kv = info.param.kv == KvType::kF32 ? "f32" : info.param.kv == KvType::kBF16 ? "bf16" : "int8";
  return std::string(traits(info.param.type).name) + (info.param.compute == ComputeMode::kF32 ? "_f32_" : "_fast_") + kv;
}

class EngineModes : public ::testing::TestWithParam<Mode> {
 protected:
  TinyModel model_{tiny_config(), GetParam().type};
  std::unique_ptr<Engine> engine(std::size_t threads = 2, std::size_t batch = 64) {
    return make_engine(model_, GetParam().compute, GetParam().kv, threads, batch);
  }
};

TEST_P(EngineModes, SameBitsForAnyThreadsSplitAndNeighbours) {
  const std::vector<TokenId> tokens = random_tokens(150, 3);
  const std::vector<float> expected = engine(1, 512)->run(logits_job(tokens)).logits;
  ASSERT_EQ(expected.size(), tokens.size() * 97);
  EXPECT_EQ(engine(2, 512)->run(logits_job(tokens)).logits, expected) << "threads";
  EXPECT_EQ(engine(2, 7)->run(logits_job(tokens)).logits, expected) << "split prefill";
  auto crowded = engine(2, 100);
  std::vector<std::future<JobOutput>> others;
  for (std::size_t i = 0; i < 31; ++i) others.push_back(crowded->submit(logits_job(random_tokens(1 + i * 3, 100 + i))));
  EXPECT_EQ(crowded->run(logits_job(tokens)).logits, expected) << "batch of 32";
  for (auto& other : others) other.get();
}

TEST_P(EngineModes, ContinuationEqualsOnePrefill) {
  const std::vector<TokenId> tokens = random_tokens(90, 5);
  auto e = engine();
  const std::vector<float> expected = e->run(logits_job(tokens)).logits;
  Job job;
  job.tokens.assign(tokens.begin(), tokens.begin() + 80);
  job.wants.logits = Wants::Logits::kLast;
  job.max_slots = tokens.size() + 4;
  std::vector<float> collected;
  std::size_t at = 80;
  job.next = [&](const JobOutput& output) -> std::optional<NextTokens> {
    collected.insert(collected.end(), output.logits.begin(), output.logits.end());
    if (at == tokens.size()) return std::nullopt;
    NextTokens next;
    if (at == 83) {
      // A rejected draft: three wrong tokens are computed, then taken back.
      next.tokens = {tokens[at], 1, 2, 3};
      next.logits = Wants::Logits::kAll;
      at = 84;
      return next;
    }
    if (at == 84) {
      collected.resize(collected.size() - 3 * 97);
      next.keep_slots = 84;
    }
    next.tokens = {tokens[at++]};
    return next;
  };
  e->run(std::move(job));
  ASSERT_EQ(collected.size(), 11u * 97);
  EXPECT_TRUE(std::equal(collected.begin(), collected.end(), expected.begin() + 79 * 97));
}

TEST_P(EngineModes, SpansComposeToTheSameBits) {
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
TEST_P(EngineModes, TokensComputedAgainInPlaceEqualTheWhole) {
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

TEST_P(EngineModes, ProbeReturnsTheProjectionsThatAreStored) {
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
TEST_P(EngineModes, SpansAtRestAreConvertedOnTheWay) {
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
TEST_P(EngineModes, GroupsComputedTogetherEqualStoredSpans) {
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

TEST_P(EngineModes, EarlyExitEqualsTheFullPass) {
  auto e = engine();
  const std::vector<TokenId> tokens = random_tokens(33, 17);
  Job full;
  full.tokens = tokens;
  full.wants.hidden_after = {0, 1, 2, 3};
  full.wants.normed_after = 3;
  full.wants.router = true;
  const JobOutput all = e->run(full);
  ASSERT_EQ(all.hidden.size(), 4u);
  ASSERT_EQ(all.router.size(), 3u);
  Job early;
  early.tokens = tokens;
  early.wants.hidden_after = {1};
  early.wants.normed_after = 2;
  // Runs beside a deeper job, in which its rows are the tail of the step.
  auto deep = e->submit(logits_job(random_tokens(20, 18)));
  const JobOutput part = e->run(early);
  deep.get();
  EXPECT_EQ(part.hidden[0], all.hidden[1]);
  ASSERT_EQ(part.normed.size(), tokens.size() * 64);
  for (std::size_t row = 0; row < tokens.size(); ++row) {
    double sum = 0, dot = 0;
    for (std::size_t i = 0; i < 64; ++i) {
      sum += all.hidden[2][row * 64 + i] * all.hidden[2][row * 64 + i];
      dot += part.normed[row * 64 + i] * all.hidden[2][row * 64 + i];
    }
    EXPECT_GT(dot, 0.9 * std::sqrt(sum)) << "the normed state points where the hidden state does";
  }
}

INSTANTIATE_TEST_SUITE_P(All, EngineModes,
                         ::testing::Values(Mode{DType::kF32, ComputeMode::kF32, KvType::kF32},
                                           Mode{DType::kQ8_0, ComputeMode::kFast, KvType::kBF16},
                                           Mode{DType::kQ4_0, ComputeMode::kFast, KvType::kInt8},
                                           Mode{DType::kBF16, ComputeMode::kFast, KvType::kBF16},
                                           Mode{DType::kQ5_1, ComputeMode::kF32, KvType::kBF16}),
                         mode_name);

TEST(Engine, BidirectionalTokensSeeEachOther) {
  const TinyModel model(tiny_config());
  auto e = make_engine(model, ComputeMode::kF32, KvType::kF32, 2, 16);
  std::vector<TokenId> tokens = random_tokens(40, 21);  // more than the batch: must not be split
  Job job;
  job.tokens = tokens;
  job.wants.normed_after = 3;
  const auto first_row = [&](Attention attention) {
    job.attention = attention;
    const std::vector<float> normed = e->run(job).normed;
    return std::vector<float>(normed.begin(), normed.begin() + 64);
  };
  const std::vector<float> causal = first_row(Attention::kCausal), bidirectional = first_row(Attention::kBidirectional);
  job.tokens.back() = (job.tokens.back() + 1) % 97;
  EXPECT_EQ(first_row(Attention::kCausal), causal);
  EXPECT_NE(first_row(Attention::kBidirectional), bidirectional);
}

TEST(Engine, LogitsOfChosenRows) {
  const TinyModel model(tiny_config(), DType::kQ8_0);
  auto e = make_engine(model, ComputeMode::kFast, KvType::kBF16, 2, 16);
  const std::vector<TokenId> tokens = random_tokens(50, 23);
  const std::vector<float> all = e->run(logits_job(tokens)).logits;
  Job job = logits_job(tokens);
  job.wants.logits = Wants::Logits::kRows;
  job.wants.logit_rows = {0, 15, 16, 49};
  const std::vector<float> some = e->run(job).logits;
  ASSERT_EQ(some.size(), 4u * 97);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_TRUE(std::equal(some.begin() + static_cast<std::ptrdiff_t>(i * 97), some.begin() + static_cast<std::ptrdiff_t>((i + 1) * 97),
                           all.begin() + static_cast<std::ptrdiff_t>(job.wants.logit_rows[i] * 97)));
  }
}

TEST(Engine, DenseInterleavedTiedModelRuns) {
  ModelConfig config = tiny_config();
  config.architecture = Architecture::kLlama;
  config.experts = config.experts_used = 0;
  config.qk_norm = false;
  config.tied_embeddings = true;
  config.rope_style = RopeStyle::kInterleaved;
  const TinyModel model(config, DType::kQ8_0);
  auto e = make_engine(model);
  const std::vector<float> logits = e->run(logits_job(random_tokens(20, 29))).logits;
  for (const float value : logits) ASSERT_TRUE(std::isfinite(value));
}

TEST(Engine, RejectsBadJobsAndGoesOn) {
  const TinyModel model(tiny_config());
  auto e = make_engine(model);
  EXPECT_EQ(code_of([&] { e->run(Job{}); }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code_of([&] { e->run(logits_job({5, 97})); }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code_of([&] { e->run(logits_job({-1})); }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code_of([&] { e->run(logits_job(random_tokens(513, 1))); }), ErrorCode::kInvalidArgument);
  Job hole = logits_job({1, 2});
  hole.runs = {TokenRun{0, 1, 0, 0, 0}, TokenRun{1, 1, 2, 2, 0}};
  EXPECT_EQ(code_of([&] { e->run(hole); }), ErrorCode::kInvalidArgument);
  Job layer = logits_job({1});
  layer.wants.hidden_after = {4};
  EXPECT_EQ(code_of([&] { e->run(layer); }), ErrorCode::kInvalidArgument);
  Job span = logits_job({1});
  span.context = {Segment{std::make_shared<KvSpan>(), 0, 1, 0, 0, 0}};
  EXPECT_EQ(code_of([&] { e->run(span); }), ErrorCode::kInvalidArgument);
  Job thrower = logits_job({1});
  thrower.next = [](const JobOutput&) -> std::optional<NextTokens> { throw Error(ErrorCode::kDevice, "sampler"); };
  EXPECT_EQ(code_of([&] { e->run(thrower); }), ErrorCode::kDevice);
  Job wrong = logits_job({1});
  wrong.max_slots = 10;
  wrong.next = [](const JobOutput&) { return NextTokens{{500}, std::nullopt, Wants::Logits::kLast}; };
  EXPECT_EQ(code_of([&] { e->run(wrong); }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(e->run(logits_job({1, 2, 3})).logits.size(), 3u * 97);
}

TEST(Engine, PoolTooSmallIsAnErrorAndBusyPoolAWait) {
  const TinyModel model(tiny_config());
  EngineOptions options;
  options.kv_slots = 128;
  auto e = Engine::create(model, options);
  EXPECT_EQ(code_of([&] { e->run(logits_job(random_tokens(129, 1))); }), ErrorCode::kMemoryBudget);
  const std::vector<float> expected = e->run(logits_job(random_tokens(100, 2))).logits;
  std::vector<std::future<JobOutput>> jobs;
  for (int i = 0; i < 6; ++i) jobs.push_back(e->submit(logits_job(random_tokens(100, 2))));
  for (auto& job : jobs) EXPECT_EQ(job.get().logits, expected);
}

TEST(Engine, CancelDeadlineAndShutdownEndJobs) {
  const TinyModel model(tiny_config());
  auto e = make_engine(model);
  // A job that decodes until it is stopped.
  const auto endless = [] {
    Job job = logits_job({1, 2, 3});
    job.max_slots = 500;
    job.next = [](const JobOutput&) { return NextTokens{{4}, 3, Wants::Logits::kLast}; };
    return job;
  };
  std::stop_source source;
  Job cancelled = endless();
  cancelled.cancel = source.get_token();
  auto first = e->submit(std::move(cancelled));
  source.request_stop();
  EXPECT_EQ(code_of([&] { first.get(); }), ErrorCode::kCancelled);
  Job late = endless();
  late.deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(20);
  EXPECT_EQ(code_of([&] { e->run(std::move(late)); }), ErrorCode::kDeadline);
  auto orphan = e->submit(endless());
  e.reset();
  EXPECT_EQ(code_of([&] { orphan.get(); }), ErrorCode::kCancelled);
}

TEST(Engine, ManyThreadsSubmitAtOnce) {
  const TinyModel model(tiny_config(), DType::kQ8_0);
  auto e = make_engine(model);
  std::vector<std::vector<float>> expected;
  for (std::uint64_t i = 0; i < 4; ++i) expected.push_back(e->run(logits_job(random_tokens(10 + i * 7, i))).logits);
  std::vector<std::thread> threads;
  for (std::uint64_t i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < 20; ++round) EXPECT_EQ(e->run(logits_job(random_tokens(10 + i * 7, i))).logits, expected[i]);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace gritstone
