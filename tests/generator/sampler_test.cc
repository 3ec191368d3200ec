#include "generator/sampler.h"

#include <cmath>
#include <limits>
#include <map>

#include "tests/base/expect_error.h"
#include "tests/model/logit_rows.h"

namespace gritstone {
namespace {

std::map<TokenId, int> draws(SamplerOptions options, const std::vector<float>& logits, int n = 4000) {
  Sampler sampler(options);
  std::map<TokenId, int> counts;
  for (int i = 0; i < n; ++i) ++counts[sampler.sample(logits)];
  return counts;
}

TEST(Sampler, GreedyTakesTheLargestAndTheLowerIdOnTies) {
  Sampler sampler({});
  EXPECT_EQ(sampler.sample(std::vector<float>{0.5f, 2.0f, 2.0f, -1.0f}), 1);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(sampler.sample(std::vector<float>{nan, -3.0f, std::numeric_limits<float>::infinity(), -4.0f}), 1);
}

TEST(Sampler, FrequenciesFollowTheProbabilities) {
  SamplerOptions options;
  options.temperature = 1;
  options.seed = 7;
  const std::vector<float> logits{std::log(0.1f), std::log(0.2f), std::log(0.7f)};
  const auto counts = draws(options, logits, 20000);
  EXPECT_NEAR(counts.at(0) / 20000.0, 0.1, 0.01);
  EXPECT_NEAR(counts.at(1) / 20000.0, 0.2, 0.012);
  EXPECT_NEAR(counts.at(2) / 20000.0, 0.7, 0.013);
}

TEST(Sampler, SameSeedSameTokensAnotherSeedOthers) {
  SamplerOptions options;
  options.temperature = 1.5;
  std::vector<float> logits(100);
  for (std::size_t i = 0; i < logits.size(); ++i) logits[i] = std::sin(static_cast<float>(i));
  const auto sequence = [&](std::uint64_t seed) {
    options.seed = seed;
    Sampler sampler(options);
    std::vector<TokenId> ids;
    for (int i = 0; i < 50; ++i) ids.push_back(sampler.sample(logits));
    return ids;
  };
  EXPECT_EQ(sequence(3), sequence(3));
  EXPECT_NE(sequence(3), sequence(4));
}

TEST(Sampler, TruncationsKeepOnlyTheLikely) {
  const std::vector<float> logits{std::log(0.5f), std::log(0.3f), std::log(0.15f), std::log(0.05f)};
  SamplerOptions top_k;
  top_k.temperature = 1;
  top_k.top_k = 2;
  EXPECT_EQ(draws(top_k, logits).size(), 2u);
  SamplerOptions top_p;
  top_p.temperature = 1;
  top_p.top_p = 0.79;
  EXPECT_EQ(draws(top_p, logits).size(), 2u);
  top_p.top_p = 0.81;
  EXPECT_EQ(draws(top_p, logits).size(), 3u);
  SamplerOptions min_p;
  min_p.temperature = 1;
  min_p.min_p = 0.2;
  EXPECT_EQ(draws(min_p, logits).size(), 3u);
  // Truncation judges the model's own probabilities: heat admits nobody.
  min_p.temperature = 50;
  EXPECT_EQ(draws(min_p, logits).size(), 3u);
}

TEST(Sampler, RepetitionPenaltyLooksAtGeneratedTokensInItsWindow) {
  SamplerOptions options;
  options.repetition_penalty = 2;
  options.repetition_window = 1;
  Sampler sampler(options);
  const std::vector<float> logits{3.0f, 2.0f, -1.0f};
  EXPECT_EQ(sampler.sample(logits), 0);
  EXPECT_EQ(sampler.sample(logits), 1);  // 0 counts 1.5 now
  EXPECT_EQ(sampler.sample(logits), 0);  // 0 left the window
  // Negative logits move down, too.
  SamplerOptions negative;
  negative.repetition_penalty = 3;
  Sampler second(negative);
  const std::vector<float> below{-1.0f, -2.0f};
  EXPECT_EQ(second.sample(below), 0);
  EXPECT_EQ(second.sample(below), 1);
}

TEST(Sampler, RefusesOptionsThatMeanNothing) {
  SamplerOptions options;
  options.temperature = -1;
  EXPECT_GS_ERROR(Sampler{options}, ErrorCode::kInvalidArgument, "temperature is -1");
  options = {};
  options.top_p = 0;
  EXPECT_GS_ERROR(Sampler{options}, ErrorCode::kInvalidArgument, "top_p");
  options = {};
  options.min_p = std::nan("");
  EXPECT_GS_ERROR(Sampler{options}, ErrorCode::kInvalidArgument, "min_p");
  options = {};
  options.repetition_penalty = 0;
  EXPECT_GS_ERROR(Sampler{options}, ErrorCode::kInvalidArgument, "repetition_penalty");
  Sampler sampler({});
  EXPECT_GS_ERROR(sampler.sample(std::vector<float>{std::nanf("")}), ErrorCode::kDevice, "none of the 1 logits");
}

TEST(Sampler, SaysHowManyLogitsItNeeds) {
  SamplerOptions options;
  const auto needed = [&](std::size_t draws = 1) { return Sampler(options).needed_top(draws); };
  EXPECT_EQ(needed(), 1u);
  EXPECT_EQ(needed(9), 1u);
  options.temperature = 0.7;
  EXPECT_EQ(needed(), std::nullopt) << "every token has its share";
  options.top_p = 0.9;
  options.min_p = 0.1;
  EXPECT_EQ(needed(), std::nullopt);
  options.top_k = 40;
  EXPECT_EQ(needed(), 40u);
  options.repetition_penalty = 1.2;
  options.repetition_window = 3;
  EXPECT_EQ(needed(), 40u);
  EXPECT_EQ(needed(3), 42u) << "the third draw has two tokens behind it";
  EXPECT_EQ(needed(9), 43u) << "the window holds three";
  options.repetition_window = 0;
  EXPECT_EQ(needed(217), kMaxTopLogits);
  EXPECT_EQ(needed(218), std::nullopt);
  options.top_k = kMaxTopLogits + 1;
  EXPECT_EQ(needed(), std::nullopt);
  options.top_k = 1;
  Sampler sampler(options);
  for (int i = 0; i < 5; ++i) sampler.sample(std::vector<float>{1.0f, -1e9f});
  EXPECT_EQ(sampler.needed_top(), 2u) << "only one token was written, five times";
  options.repetition_penalty = 0.9;
  EXPECT_EQ(needed(), std::nullopt) << "it lifts tokens from anywhere";
  Sampler greedy({});
  EXPECT_GS_ERROR(greedy.sample(std::vector<TopLogit>{{-1, -1.0f}}), ErrorCode::kDevice, "none of the logits");
}

// The largest logits lead to the tokens of the whole row: random options, rows full of ties and of values that are none, drafts.
TEST(Sampler, TheLargestLogitsLeadToTheTokensOfTheWholeRow) {
  std::mt19937 random(17);
  std::size_t compared = 0, with_penalty = 0;
  for (int round = 0; round < 600; ++round) {
    const auto one_of = [&](auto... values) {
      const double all[] = {static_cast<double>(values)...};
      return all[random() % sizeof...(values)];
    };
    SamplerOptions options;
    options.temperature = one_of(0, 0, 0.3, 1, 5);
    options.top_k = static_cast<std::size_t>(one_of(0, 1, 2, 7, 40, 250));
    options.top_p = one_of(1, 1, 0.5, 0.95);
    options.min_p = one_of(0, 0, 0.05, 0.5);
    options.repetition_penalty = one_of(1, 1.05, 1.3, 4, 0.8);
    options.repetition_window = static_cast<std::size_t>(one_of(0, 1, 8, 64));
    options.seed = random();
    Sampler whole(options), top(options);
    const std::size_t vocab = std::size_t{1} << random() % 11;
    // The same few rows again and again, so that what was written matters.
    std::vector<std::vector<float>> rows;
    for (int i = 0; i < 3; ++i) rows.push_back(logit_row(kRowKinds[random() % std::size(kRowKinds)], vocab, random));
    for (int step = 0; step < 12; ++step) {
      const std::size_t draws = 1 + random() % 4;
      const std::optional<std::size_t> needed = top.needed_top(draws);
      for (std::size_t draw = 0; draw < draws; ++draw) {
        const std::vector<float>& row = rows[random() % rows.size()];
        TokenId want = -1, got = -1;
        try {
          want = whole.sample(row);
        } catch (const Error&) {
        }
        try {
          got = needed ? top.sample(sorted_top(row, *needed)) : top.sample(row);
        } catch (const Error&) {
        }
        ASSERT_EQ(got, want) << "round " << round << ", step " << step << ", needed " << needed.value_or(0);
        compared += needed ? 1 : 0;
        with_penalty += needed && options.repetition_penalty > 1 ? 1 : 0;
      }
    }
  }
  EXPECT_GT(compared, 5000u);
  EXPECT_GT(with_penalty, 2000u);
}

}  // namespace
}  // namespace gritstone
