#include "model/kernels/top_logits.h"

#include <future>

#include "tests/model/engine_fixture.h"
#include "tests/model/logit_rows.h"

namespace gritstone {
namespace {

TEST(TopLogits, EqualASort) {
  std::mt19937 random(3);
  for (const std::size_t vocab : {1, 7, 255, 1000, 5003}) {
    for (const RowKind kind : kRowKinds) {
      const std::vector<float> row = logit_row(kind, vocab, random);
      for (const std::size_t k : {1, 2, 40, 256}) {
        std::vector<TopLogit> top(k);
        top_logits(row, top);
        EXPECT_EQ(top, sorted_top(row, k)) << "vocab " << vocab << ", kind " << static_cast<int>(kind) << ", k " << k;
      }
    }
  }
}

class EngineTops : public EngineTest {};

TEST_P(EngineTops, AreTheLargestOfTheWholeRows) {
  const auto e = engine(2, 16);  // a prefill in several steps
  const std::vector<TokenId> tokens = random_tokens(40, 5);
  const std::vector<float> whole = e->run(logits_job(tokens)).logits;
  const auto want = [&](std::size_t row, std::size_t k) { return sorted_top(std::span(whole).subspan(row * 97, 97), k); };
  for (const std::size_t k : {1, 5, 256}) {
    Job job = logits_job(tokens);
    job.wants.top_logits = k;
    auto beside = e->submit(logits_job(tokens));
    const JobOutput output = e->run(job);
    EXPECT_TRUE(output.logits.empty());
    ASSERT_EQ(output.top.size(), tokens.size() * k);
    for (std::size_t row = 0; row < tokens.size(); ++row) {
      EXPECT_TRUE(std::equal(output.top.begin() + static_cast<std::ptrdiff_t>(row * k),
                             output.top.begin() + static_cast<std::ptrdiff_t>((row + 1) * k), want(row, k).begin()));
    }
    EXPECT_EQ(beside.get().logits, whole) << "who wants whole rows gets them beside others who do not";
  }
  // From round to round another wish.
  Job job;
  job.tokens.assign(tokens.begin(), tokens.begin() + 10);
  job.wants.logits = Wants::Logits::kLast;
  job.wants.top_logits = 3;
  job.max_slots = 40;
  std::size_t round = 0;
  job.next = [&](const JobOutput& output) -> std::optional<NextTokens> {
    if (round == 0) {
      EXPECT_EQ(output.top, want(9, 3));
    }
    if (round == 1) {
      EXPECT_TRUE(output.top.empty());
      EXPECT_TRUE(std::equal(output.logits.begin(), output.logits.end(), whole.begin() + 10 * 97, whole.begin() + 11 * 97));
    }
    if (round == 2) {
      std::vector<TopLogit> both = want(11, 2);
      const std::vector<TopLogit> second = want(12, 2);
      both.insert(both.end(), second.begin(), second.end());
      EXPECT_EQ(output.top, both);
      return std::nullopt;
    }
    ++round;
    if (round == 1) return NextTokens{{tokens[10]}, std::nullopt, Wants::Logits::kLast};
    return NextTokens{{tokens[11], tokens[12]}, std::nullopt, Wants::Logits::kAll, 2};
  };
  e->run(std::move(job));
  EXPECT_EQ(round, 2u);
}

TEST_P(EngineTops, RefuseMoreThanThereAreOfThem) {
  const auto e = engine();
  Job job = logits_job({1, 2});
  job.wants.top_logits = kMaxTopLogits + 1;
  EXPECT_EQ(code_of([&] { e->run(job); }), ErrorCode::kInvalidArgument);
  job.wants.top_logits = 1;
  job.max_slots = 4;
  job.next = [](const JobOutput&) { return NextTokens{{3}, std::nullopt, Wants::Logits::kLast, kMaxTopLogits + 1}; };
  EXPECT_EQ(code_of([&] { e->run(job); }), ErrorCode::kInvalidArgument);
}

INSTANTIATE_TEST_SUITE_P(Modes, EngineTops, ::testing::Values(Mode{DType::kQ8_0, ComputeMode::kFast, KvType::kBF16}), mode_name);

}  // namespace
}  // namespace gritstone
