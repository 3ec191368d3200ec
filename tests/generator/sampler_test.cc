#include "generator/sampler.h"

#include <cmath>
#include <limits>
#include <map>

#include "tests/base/expect_error.h"

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

}  // namespace
}  // namespace gritstone
