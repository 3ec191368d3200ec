// Drafts from the prompt: where they come from, when they pay, and that the text never depends on them.
#include "generator/prompt_lookup.h"

#include <gtest/gtest.h>

#include <random>

#include "generator/generate.h"
#include "tests/generator/fake_model.h"
#include "tests/model/tiny_model.h"

namespace gritstone {
namespace {

using Ids = std::vector<TokenId>;

TEST(PromptLookup, ContinuesTheLongestThenTheLastMatch) {
  const PromptLookup lookup({1, 2, 3, 4, 9, 2, 3, 5, 6, 7, 2, 3, 8});
  EXPECT_EQ(lookup.propose(Ids{2, 3}, 2), (Ids{8}));
  EXPECT_EQ(lookup.propose(Ids{9, 2, 3}, 3), (Ids{5, 6, 7}));
  EXPECT_EQ(lookup.propose(Ids{1, 2, 3}, 9), (Ids{4, 9, 2, 3, 5, 6, 7, 2, 3})) << "at most `limit`";
  EXPECT_EQ(lookup.propose(Ids{0, 0, 1, 2, 3}, 1), (Ids{4}));
  EXPECT_EQ(lookup.propose(Ids{3, 2}, 4), Ids{});
  EXPECT_EQ(lookup.propose(Ids{3}, 4), Ids{});
  EXPECT_EQ(lookup.propose(Ids{2, 3}, 0), Ids{});
  EXPECT_EQ(PromptLookup({}).propose(Ids{1, 2}, 4), Ids{});
  EXPECT_EQ(PromptLookup({1, 2}).propose(Ids{1, 2}, 4), Ids{}) << "nothing follows";
}

TEST(DraftLength, GrowsWhereDraftsHoldAndStopsWhereTheyDoNot) {
  DraftLength holds;
  EXPECT_EQ(holds.next(), 0u) << "the first step is measured";
  holds.record(0, 0, 1.0);
  for (int i = 0; i < 60; ++i) {
    const std::size_t k = holds.next();
    holds.record(k, k, 1.0 + 0.05 * static_cast<double>(k));
  }
  EXPECT_EQ(holds.next(), DraftLength::kMax);

  DraftLength fails;
  fails.record(0, 0, 1.0);
  std::size_t proposed = 0;
  for (int i = 0; i < 1000; ++i) {
    const std::size_t k = fails.next();
    fails.record(k, 0, 1.0 + 0.5 * static_cast<double>(k));
    proposed += i >= 100 ? k : 0;
  }
  EXPECT_LE(proposed, 900u / 64 + 1);
  EXPECT_GT(proposed, 0u) << "it tries again now and then";

  // Every token as dear as a step: nothing to win even if all hold.
  DraftLength dear;
  dear.record(0, 0, 1.0);
  for (int i = 0; i < 200; ++i) {
    const std::size_t k = dear.next();
    dear.record(k, k, 1.0 + 1.1 * static_cast<double>(k));
  }
  EXPECT_LE(dear.next(), 1u);
}

class Drafting : public ::testing::Test {
 protected:
  static ModelConfig config() {
    ModelConfig c = tiny_config();
    c.vocab = ByteTokenizer::kVocab;
    return c;
  }

  GenerateResult run(const Ids& source, std::size_t n, double temperature, std::vector<std::string> stops = {}) {
    GenerateRequest request;
    request.prompt = prompt_;
    request.max_new_tokens = n;
    request.draft_source = source;
    request.sampling.temperature = temperature;
    request.sampling.seed = 3;
    request.sampling.repetition_penalty = 1.3;
    request.stop_ids = {ByteTokenizer::kEos};
    request.stop_strings = std::move(stops);
    request.ignore_stops = request.stop_strings.empty();
    return generate(*engine_, tokenizer_, std::move(request));
  }

  ByteTokenizer tokenizer_;
  TinyModel model_{config(), DType::kQ8_0};
  std::unique_ptr<Engine> engine_ = Engine::create(model_, {});
  Ids prompt_ = tokenizer_.encode("What does the passage say about tides and the moon?");
};

TEST_F(Drafting, TheTextIsThatOfPlainDecoding) {
  std::mt19937 random(5);
  std::size_t accepted = 0, rejected = 0;
  for (const double temperature : {0.0, 1.0}) {
    const Ids plain = run({}, 120, temperature).ids;
    Ids wrong = plain;
    for (std::size_t i = 4; i < wrong.size(); i += 5) wrong[i] = static_cast<TokenId>(random() % 200);
    for (const Ids& source : {plain, wrong}) {
      const GenerateResult drafted = run(source, 120, temperature);
      EXPECT_EQ(drafted.ids, plain);
      EXPECT_EQ(drafted.usage.completion_tokens, 120u);
      EXPECT_EQ(drafted.drafts.steps + drafted.drafts.accepted, 120u);
      accepted += drafted.drafts.accepted;
      rejected += drafted.drafts.proposed - drafted.drafts.accepted;
    }
    // Ends in the middle of a draft, wherever that is.
    for (std::size_t n = 1; n < 24; ++n)
      EXPECT_EQ(run(plain, n, temperature).ids, Ids(plain.begin(), plain.begin() + static_cast<std::ptrdiff_t>(n)));
    const std::string stop = tokenizer_.decode(std::span(plain).subspan(30, 2));
    const GenerateResult stopped = run({}, 120, temperature, {stop}), stopped_drafted = run(plain, 120, temperature, {stop});
    EXPECT_EQ(stopped_drafted.text, stopped.text);
    EXPECT_EQ(stopped_drafted.finish_reason, FinishReason::kStop);
  }
  EXPECT_GT(accepted, 20u);
  EXPECT_GT(rejected, 5u);
}

TEST_F(Drafting, FillsTheContextToTheLastSlot) {
  const std::size_t room = engine_->config().context - prompt_.size();
  const Ids plain = run({}, room, 1.0).ids;
  EXPECT_EQ(plain.size(), room);
  EXPECT_EQ(run(plain, room, 1.0).ids, plain);
}

}  // namespace
}  // namespace gritstone
