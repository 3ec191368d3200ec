#include "model/ops/step.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/ops/pool.h"

namespace gritstone {
namespace {

using testing::ElementsAre;

TEST(StepRows, WantedRowsAreAStepOfTheirOwn) {
  KvSequence first, second, third;
  StepRows step;
  step.sequences = {{&first, 0, 3, 4, false}, {&second, 3, 2, 4, false}, {&third, 5, 2, 4, false}, {&third, 7, 1, 2, true}};
  for (std::size_t i = 0; i < 8; ++i) {
    step.tokens.push_back(static_cast<TokenId>(10 + i));
    step.slots.push_back(20 + i);
    step.visible.push_back(30 + i);
  }
  step.logit_rows = {1, 2, 6};
  step.logit_tops = {0, 16, 0};
  const StepRows wanted = step.wanted();
  EXPECT_THAT(wanted.tokens, ElementsAre(11, 12, 16));
  EXPECT_THAT(wanted.slots, ElementsAre(21, 22, 26));
  EXPECT_THAT(wanted.visible, ElementsAre(31, 32, 36));
  EXPECT_THAT(wanted.logit_rows, ElementsAre(0, 1, 2));
  EXPECT_THAT(wanted.logit_tops, ElementsAre(0, 16, 0));
  ASSERT_EQ(wanted.sequences.size(), 2u);
  EXPECT_EQ(wanted.sequences[0].kv, &first);
  EXPECT_EQ(wanted.sequences[0].row_begin, 0u);
  EXPECT_EQ(wanted.sequences[0].rows, 2u);
  EXPECT_EQ(wanted.sequences[1].kv, &third);
  EXPECT_EQ(wanted.sequences[1].row_begin, 2u);
  EXPECT_EQ(wanted.sequences[1].rows, 1u);
  EXPECT_EQ(wanted.active(3), 3u);

  step.logit_rows.clear();
  step.logit_tops.clear();
  EXPECT_EQ(step.wanted().size(), 0u);
  EXPECT_EQ(step.wanted().active(3), 0u);
}

TEST(PoolRows, AddsWeightedRows) {
  const std::vector<float> states{9, 9, 1, 2, 3, 4, 5, 6, 9, 9};
  std::vector<double> sums{100, 200};
  add_pool_rows(states.data(), 2, {1, 3, 1, 0, sums.data()}, 0, 2);
  EXPECT_THAT(sums, ElementsAre(109, 212));
  add_pool_rows(states.data(), 2, {1, 3, 4, 2, sums.data()}, 1, 1);
  EXPECT_THAT(sums, ElementsAre(109, 212 + 4 * 2 + 6 * 4 + 8 * 6));
}

}  // namespace
}  // namespace gritstone
