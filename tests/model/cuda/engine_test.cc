// The CUDA backend under the engine, against the CPU's f32 engine: every way a job of live tokens can take.
#include <gtest/gtest.h>

#include <future>

#include "model/ops/pool.h"
#include "tests/model/cuda/cuda_engine.h"
#include "tests/model/logit_rows.h"

namespace gritstone {
namespace {

TEST_P(CudaEngine, StatesEqualTheCpus) {
  const auto cuda = Engine::create(model_, cuda_options());
  for (const std::size_t tokens : {1, 8, 9, 70}) {
    for (const Attention attention : {Attention::kCausal, Attention::kBidirectional}) {
      SCOPED_TRACE(std::to_string(tokens) + (attention == Attention::kCausal ? " causal" : " bidirectional"));
      Job job = logits_job(random_tokens(tokens, tokens));
      job.attention = attention;
      job.wants.hidden_after = {0, 2};
      job.wants.normed_after = 3;
      job.wants.router = true;
      job.wants.kv_probe = 1;
      const JobOutput want = cpu_->run(job), got = cuda->run(job);
      const ModelConfig& config = cpu_->config();
      expect_near(got.hidden.at(0), want.hidden.at(0), config.hidden, "embeddings");
      expect_near(got.hidden.at(1), want.hidden.at(1), config.hidden, "hidden.2");
      expect_near(got.normed, want.normed, config.hidden, "normed");
      expect_near(got.logits, want.logits, kVocab, "logits");
      expect_near(got.probe, want.probe, 2 * config.kv_width(), "probe");
      ASSERT_EQ(got.router.size(), want.router.size());
      for (std::size_t layer = 0; layer < want.router.size(); ++layer) {
        expect_near(got.router[layer], want.router[layer], config.experts, "router " + std::to_string(layer));
      }
    }
  }
}

// As many rows as the products of pairs of blocks take (gemm_half_takes; 80 pairs for each expert), bf16 only.
TEST_P(CudaEngine, ManyRowsEqualTheCpus) {
  if (GetParam().type != DType::kBF16) GTEST_SKIP() << "the formats share what is special about many rows";
  const Job job = logits_job(random_tokens(512, 3));
  const JobOutput got = Engine::create(model_, cuda_options(1024))->run(job);
  expect_near(got.logits, cpu_->run(job).logits, kVocab, "logits");
}

TEST_P(CudaEngine, SplitPrefillAndDecodingEqualOnePass) {
  const std::vector<TokenId> tokens = random_tokens(80, 3);
  const std::vector<float> want = cpu_->run(logits_job(tokens)).logits;
  for (const std::size_t batch : {8, 33}) {  // steps of the vec and of the matrix kind
    const auto cuda = Engine::create(model_, cuda_options(batch));
    expect_near(cuda->run(logits_job(tokens)).logits, want, kVocab, "batch " + std::to_string(batch));
  }
  // Token by token, as decoding does it: most steps replay a graph where the device has them.
  const auto cuda = Engine::create(model_, cuda_options());
  Job job;
  job.tokens.assign(tokens.begin(), tokens.begin() + 60);
  job.wants.logits = Wants::Logits::kLast;
  job.max_slots = tokens.size();
  std::size_t next = 60;
  std::vector<float> got;
  job.next = [&](const JobOutput& output) -> std::optional<NextTokens> {
    got.insert(got.end(), output.logits.begin(), output.logits.end());
    if (next == tokens.size()) return std::nullopt;
    return NextTokens{{tokens[next++]}, std::nullopt, Wants::Logits::kLast};
  };
  cuda->run(std::move(job));
  expect_near(got, {want.begin() + 59 * kVocab, want.end()}, kVocab, "decoding");
}

// Rows without logits are done early in the last layer; few of the others are attended one by one, many in tiles.
TEST_P(CudaEngine, LogitsOfSomeRowsEqualThoseOfAll) {
  const std::vector<TokenId> tokens = random_tokens(90, 7);
  const std::vector<std::vector<std::size_t>> wanted = {{89}, {0, 40, 41, 70, 71, 72, 89}, {}, {5, 88}};
  for (const bool deterministic : {false, true}) {
    EngineOptions options = cuda_options(400);
    options.deterministic = deterministic;
    const auto cuda = Engine::create(model_, options);
    const std::vector<float> all = (deterministic ? cuda : cpu_)->run(logits_job(tokens)).logits;
    std::vector<std::future<JobOutput>> running;
    for (const std::vector<std::size_t>& rows : wanted) {
      Job job = logits_job(tokens);
      job.wants.logits = rows.empty() ? Wants::Logits::kNone : Wants::Logits::kRows;
      job.wants.logit_rows = rows;
      running.push_back(cuda->submit(std::move(job)));
    }
    std::vector<float> got, want;
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      const std::vector<float> some = running[i].get().logits;
      got.insert(got.end(), some.begin(), some.end());
      for (const std::size_t row : wanted[i]) {
        const auto begin = all.begin() + static_cast<std::ptrdiff_t>(row * kVocab);
        want.insert(want.end(), begin, begin + kVocab);
      }
    }
    if (deterministic) {
      EXPECT_EQ(got, want);
    } else {
      expect_near(got, want, kVocab, "some rows");
    }
  }
}

// To the bit in deterministic mode; what is fast need not give the same states twice.
TEST_P(CudaEngine, PooledStatesAreMeansOfTheStates) {
  EngineOptions options = cuda_options(50);
  options.deterministic = true;
  const auto exact = Engine::create(model_, options), fast = Engine::create(model_, cuda_options());
  const std::size_t width = model_.config().hidden;
  for (const Attention attention : {Attention::kCausal, Attention::kBidirectional}) {
    std::vector<std::future<JobOutput>> running, running_fast;
    std::vector<std::vector<float>> want;
    for (const std::size_t tokens : {6, 80, 30}) {  // causal jobs of 80 tokens are cut
      Job job;
      job.tokens = random_tokens(tokens, 3 + tokens);
      job.attention = attention;
      job.wants.normed_after = tokens == 30 ? 2 : 3;
      const std::vector<float> states = exact->run(job).normed;
      const Wants::Pool pool{1, tokens - 2, tokens == 80};
      std::vector<double> sums(width);
      add_pool_rows(states.data(), width, {pool.first, pool.count, 1, pool.rising ? 1.0 : 0.0, sums.data()}, 0, width);
      const double count = static_cast<double>(pool.count), total = pool.rising ? count * (count + 1) / 2 : count;
      want.emplace_back();
      for (const double sum : sums) want.back().push_back(static_cast<float>(sum / total));
      job.wants.pool = pool;
      running.push_back(exact->submit(job));
      running_fast.push_back(fast->submit(job));
    }
    for (std::size_t i = 0; i < want.size(); ++i) {
      EXPECT_EQ(running[i].get().pooled, want[i]) << i;
      expect_near(running_fast[i].get().pooled, want[i], width, "fast " + std::to_string(i));
    }
  }
}

TEST_P(CudaEngine, JobsBesideEachOtherEqualThemAlone) {
  const auto cuda = Engine::create(model_, cuda_options(100));
  std::vector<std::future<JobOutput>> running;
  std::vector<std::vector<float>> want;
  for (const std::size_t tokens : {40, 2, 70, 1, 33, 4}) {
    const Job job = logits_job(random_tokens(tokens, 100 + tokens));
    want.push_back(cpu_->run(job).logits);
    running.push_back(cuda->submit(job));
  }
  for (std::size_t i = 0; i < want.size(); ++i) expect_near(running[i].get().logits, want[i], kVocab, "job " + std::to_string(i));
}

// Jobs of the same tokens in the same steps, some of whose rows are wanted whole: the others get the largest of just these rows. Few rows
// (steps that replay a graph, as long as the size of the top stays) and many.
TEST_P(CudaEngine, TopLogitsAreThoseOfTheWholeRowsBesideThem) {
  const auto cuda = Engine::create(model_, cuda_options());
  for (const std::size_t beside : {2, 5}) {
    // One job holds the engine until all others wait, so that they begin together.
    std::promise<void> holds, all_wait;
    Job first;
    first.tokens = {1};
    first.next = [&](const JobOutput&) -> std::optional<NextTokens> {
      holds.set_value();
      all_wait.get_future().wait();
      return std::nullopt;
    };
    auto holding = cuda->submit(std::move(first));
    holds.get_future().wait();
    constexpr std::size_t kRounds = 12;
    const auto wish = [](std::size_t round) -> std::size_t { return round == 0 ? 3 : round < 5 ? 1 : round < 8 ? 20 : 200; };
    std::vector<std::vector<float>> whole(kRounds);
    std::vector<std::vector<std::vector<TopLogit>>> tops(beside, std::vector<std::vector<TopLogit>>(kRounds));
    std::vector<std::future<JobOutput>> running;
    for (std::size_t i = 0; i <= beside; ++i) {
      const bool wants_whole = i == 1;
      Job job = logits_job(random_tokens(3, 9));
      job.wants.top_logits = wants_whole ? 0 : wish(0);
      job.max_slots = 64;
      auto round = std::make_shared<std::size_t>(0);
      job.next = [&, i, wants_whole, round](const JobOutput& output) -> std::optional<NextTokens> {
        wants_whole ? void(whole[*round] = output.logits) : void(tops[i == 0 ? 0 : i - 1][*round] = output.top);
        EXPECT_EQ(output.logits.empty(), !wants_whole);
        if (++*round == kRounds) return std::nullopt;
        // Now and then a draft behind the token, as many rows of logits as tokens.
        std::vector<TokenId> tokens(*round % 4 == 3 ? 2 : 1, static_cast<TokenId>(*round));
        return NextTokens{tokens, std::nullopt, Wants::Logits::kAll, wants_whole ? 0 : wish(*round)};
      };
      running.push_back(cuda->submit(std::move(job)));
    }
    all_wait.set_value();
    holding.get();
    for (auto& job : running) job.get();
    for (std::size_t round = 0; round < kRounds; ++round) {
      const std::size_t k = wish(round);
      std::vector<TopLogit> want;
      for (std::size_t at = 0; at < whole[round].size(); at += kVocab) {
        const std::vector<TopLogit> row = sorted_top(std::span(whole[round]).subspan(at, kVocab), k);
        want.insert(want.end(), row.begin(), row.end());
      }
      ASSERT_FALSE(want.empty());
      for (const auto& job : tops) EXPECT_EQ(job[round], want) << "round " << round << ", " << beside << " beside";
    }
  }
}

// More rows than logits exist of at once, of both kinds.
TEST_P(CudaEngine, TopLogitsOfManyRows) {
  const auto cuda = Engine::create(model_, cuda_options(600));
  const std::vector<TokenId> tokens = random_tokens(300, 12);
  const std::vector<float> whole = cuda->run(logits_job(tokens)).logits;
  Job job = logits_job(tokens);
  job.wants.top_logits = 2;
  const std::vector<TopLogit> top = cuda->run(job).top;
  ASSERT_EQ(top.size(), 600u);
  for (std::size_t row = 0; row < 300; ++row) {
    const std::vector<TopLogit> want = sorted_top(std::span(whole).subspan(row * kVocab, kVocab), 2);
    EXPECT_EQ(top[2 * row], want[0]) << row;
    EXPECT_EQ(top[2 * row + 1], want[1]) << row;
  }
}

// Rows of a step that leave after some layers, or after the projections of one; of few and of many rows.
TEST_P(CudaEngine, JobsOfDifferentDepthsEqualThemAlone) {
  const auto cuda = Engine::create(model_, cuda_options(150));
  std::vector<Job> jobs;
  for (const std::size_t tokens : {40, 12, 5, 9, 3, 21, 3, 2}) {
    jobs.emplace_back();
    jobs.back().tokens = random_tokens(tokens, 300 + tokens);
  }
  jobs[0].wants.logits = Wants::Logits::kAll;
  jobs[1].wants.kv_probe = 1;
  jobs[2].wants.kv_probe = 0;
  jobs[3].wants.hidden_after = {1};
  jobs[4].wants.hidden_after = {2};
  jobs[5].wants.normed_after = 2;
  jobs[6].wants.logits = Wants::Logits::kAll;
  jobs[7].wants.kv_probe = 2;
  std::vector<std::future<JobOutput>> running;
  for (const Job& job : jobs) running.push_back(cuda->submit(job));
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    const JobOutput want = cpu_->run(jobs[i]), got = running[i].get();
    const std::string what = "job " + std::to_string(i);
    const ModelConfig& config = cpu_->config();
    if (!want.logits.empty()) expect_near(got.logits, want.logits, kVocab, what);
    if (!want.hidden.empty()) expect_near(got.hidden.at(0), want.hidden.at(0), config.hidden, what);
    if (!want.normed.empty()) expect_near(got.normed, want.normed, config.hidden, what);
    if (!want.probe.empty()) expect_near(got.probe, want.probe, 2 * config.kv_width(), what);
  }
}

TEST_P(CudaEngine, DeterministicModeGivesTheSameBitsWhateverTheBatch) {
  EngineOptions options = cuda_options();
  options.deterministic = true;
  const std::vector<TokenId> tokens = random_tokens(40, 5);
  const std::vector<float> want = Engine::create(model_, options)->run(logits_job(tokens)).logits;
  options.max_batch_tokens = 7;
  EXPECT_EQ(Engine::create(model_, options)->run(logits_job(tokens)).logits, want);
  options.max_batch_tokens = 200;
  const auto cuda = Engine::create(model_, options);
  auto other = cuda->submit(logits_job(random_tokens(50, 6)));
  EXPECT_EQ(cuda->run(logits_job(tokens)).logits, want);
  other.get();
}

INSTANTIATE_TEST_SUITE_P(Shapes, CudaEngine, cuda_shapes(), shape_name);

TEST(CudaEngineErrors, WhatTheDeviceDoesNotDo) {
  GS_REQUIRE_DEVICE();
  const TinyModel model(tiny_config());
  EngineOptions options = cuda_options();
  options.compute = ComputeMode::kF32;
  EXPECT_EQ(code_of([&] { Engine::create(model, options); }), ErrorCode::kInvalidArgument);
  options = cuda_options();
  options.kv_type = KvType::kInt8;
  EXPECT_EQ(code_of([&] { Engine::create(model, options); }), ErrorCode::kInvalidArgument);
  options = cuda_options();
  options.kv_slots = std::size_t{1} << 40;
  EXPECT_EQ(code_of([&] { Engine::create(model, options); }), ErrorCode::kMemoryBudget);
}

}  // namespace
}  // namespace gritstone
