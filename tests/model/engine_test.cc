// The engine's promises on a tiny model: results do not depend on batch, split, threads or where states came from.
#include "model/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <thread>

#include "tests/model/engine_fixture.h"

namespace gritstone {
namespace {

class EngineModes : public EngineTest {};

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

// Rows without logits are done early in the last layer, unless somebody looks at its states: no result may depend on it.
TEST_P(EngineModes, LogitsOfSomeRowsEqualThoseOfAll) {
  const std::vector<TokenId> tokens = random_tokens(50, 23);
  auto e = engine(2, 256);
  for (const Attention attention : {Attention::kCausal, Attention::kBidirectional}) {
    Job job = logits_job(tokens);
    job.attention = attention;
    const std::vector<float> all = e->run(job).logits;
    std::vector<std::future<JobOutput>> running;  // beside each other, in the same steps where they meet
    std::vector<std::vector<std::size_t>> wanted = {{}, {0, 15, 16, 49}, {49}, {7}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}};
    for (const std::vector<std::size_t>& rows : wanted) {
      for (const bool looks : {false, true}) {
        job.wants = Wants();
        job.wants.logits = rows.empty() ? Wants::Logits::kNone : Wants::Logits::kRows;
        job.wants.logit_rows = rows;
        if (looks) job.wants.normed_after = 3;
        if (looks) e->run(job);  // the neighbours' steps are then others
        running.push_back(e->submit(job));
      }
    }
    for (std::size_t i = 0; i < running.size(); ++i) {
      const std::vector<float> some = running[i].get().logits;
      std::vector<float> expected;
      for (const std::size_t row : wanted[i / 2]) {
        const auto begin = all.begin() + static_cast<std::ptrdiff_t>(row * 97);
        expected.insert(expected.end(), begin, begin + 97);
      }
      EXPECT_EQ(some, expected) << "job " << i;
    }
  }
}

TEST_P(EngineModes, PooledStatesAreMeansOfTheStates) {
  for (const std::size_t batch : {256, 7}) {
    auto e = engine(2, batch);
    for (const Attention attention : {Attention::kCausal, Attention::kBidirectional}) {
      std::vector<std::future<JobOutput>> running;
      std::vector<std::vector<float>> expected;
      for (const std::size_t layer : {1, 3}) {
        for (const bool rising : {false, true}) {
          Job job;
          job.tokens = random_tokens(40 + layer, 31 + layer);
          job.attention = attention;
          job.wants.normed_after = layer;
          const std::vector<float> states = e->run(job).normed;
          const Wants::Pool pool{5, 30, rising};
          for (std::size_t column = 0; column < 64; ++column) {
            double sum = 0, total = 0;
            for (std::size_t i = 0; i < pool.count; ++i) {
              const double weight = rising ? static_cast<double>(i + 1) : 1.0;
              sum += weight * static_cast<double>(states[(pool.first + i) * 64 + column]);
              total += weight;
            }
            if (column == 0) expected.emplace_back();
            expected.back().push_back(static_cast<float>(sum / total));
          }
          job.wants.pool = pool;
          running.push_back(e->submit(job));
        }
      }
      for (std::size_t i = 0; i < running.size(); ++i) {
        const JobOutput output = running[i].get();
        EXPECT_EQ(output.pooled, expected[i]) << batch << ", " << i;
        EXPECT_TRUE(output.normed.empty());
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, EngineModes, engine_modes(), mode_name);

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
  Job pool = logits_job({1, 2});
  pool.wants.pool = Wants::Pool{0, 1, false};
  EXPECT_EQ(code_of([&] { e->run(pool); }), ErrorCode::kInvalidArgument) << "of no states";
  pool.wants.normed_after = 1;
  for (const Wants::Pool bad : {Wants::Pool{0, 0, false}, Wants::Pool{1, 2, false}, Wants::Pool{3, 1, false}}) {
    pool.wants.pool = bad;
    EXPECT_EQ(code_of([&] { e->run(pool); }), ErrorCode::kInvalidArgument) << bad.first << ", " << bad.count;
  }
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

// With a limit for bulk jobs, one that came first does not hold up a question, and neither result changes.
TEST(Engine, BulkJobsGiveWay) {
  const TinyModel model(tiny_config(), DType::kQ8_0);
  EngineOptions options;
  options.threads = 2;
  options.kv_slots = 2048;
  options.max_batch_tokens = 128;
  const std::vector<TokenId> text = random_tokens(400, 1), question = random_tokens(40, 2);
  const auto bulk_job = [&] {
    Job job = logits_job(text);
    job.wants.logits = Wants::Logits::kLast;
    job.priority = Priority::kBulk;
    return job;
  };
  std::vector<float> bulk_alone, question_alone;
  {
    const auto engine = Engine::create(model, options);
    bulk_alone = engine->run(bulk_job()).logits;
    question_alone = engine->run(logits_job(question)).logits;
  }
  options.max_bulk_tokens = 8;
  const auto engine = Engine::create(model, options);
  std::vector<std::future<JobOutput>> bulk;
  for (int i = 0; i < 6; ++i) bulk.push_back(engine->submit(bulk_job()));
  const JobOutput answered = engine->run(logits_job(question));
  // 2,400 tokens in steps of at most 8 cannot be through when a question of one step is.
  EXPECT_NE(bulk.back().wait_for(std::chrono::seconds(0)), std::future_status::ready);
  EXPECT_EQ(answered.logits, question_alone);
  for (std::future<JobOutput>& job : bulk) EXPECT_EQ(job.get().logits, bulk_alone);
  // A job that cannot be split runs too, alone and beside others.
  Job whole = bulk_job();
  whole.attention = Attention::kBidirectional;
  std::future<JobOutput> beside = engine->submit(bulk_job());
  EXPECT_EQ(engine->run(std::move(whole)).logits.size(), bulk_alone.size());
  EXPECT_EQ(beside.get().logits, bulk_alone);
}

// Questions come all the time, most of them while a step of bulk work runs: that is abandoned and done again, with the same results, and
// the bulk work gets through nevertheless, the job that cannot be split too.
TEST(Engine, AbandonedBulkStepsChangeNothing) {
  const TinyModel model(tiny_config(), DType::kQ8_0);
  EngineOptions options;
  options.threads = 2;
  options.kv_slots = 4096;
  const auto bulk_job = [&](std::size_t tokens, Attention attention) {
    Job job = logits_job(random_tokens(tokens, tokens));
    job.wants.hidden_after = {1, 2};
    job.attention = attention;
    job.priority = Priority::kBulk;
    return job;
  };
  const std::vector<TokenId> question = random_tokens(5, 2);
  JobOutput split_alone, whole_alone;
  std::vector<float> question_alone;
  {
    const auto engine = Engine::create(model, options);
    split_alone = engine->run(bulk_job(500, Attention::kCausal));
    whole_alone = engine->run(bulk_job(300, Attention::kBidirectional));
    question_alone = engine->run(logits_job(question)).logits;
  }
  options.max_bulk_tokens = 64;
  const auto engine = Engine::create(model, options);
  std::future<JobOutput> whole = engine->submit(bulk_job(300, Attention::kBidirectional));
  std::future<JobOutput> split = engine->submit(bulk_job(500, Attention::kCausal));
  const auto running = [](const std::future<JobOutput>& f) {
    return f.wait_for(std::chrono::microseconds(50)) != std::future_status::ready;
  };
  while (running(whole) || running(split)) EXPECT_EQ(engine->run(logits_job(question)).logits, question_alone);
  const JobOutput split_output = split.get(), whole_output = whole.get();
  EXPECT_EQ(split_output.logits, split_alone.logits);
  EXPECT_EQ(split_output.hidden, split_alone.hidden);
  EXPECT_EQ(whole_output.logits, whole_alone.logits);
  EXPECT_EQ(whole_output.hidden, whole_alone.hidden);
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
