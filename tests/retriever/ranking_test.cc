#include <cmath>
#include <random>

#include "retriever/fusion.h"
#include "retriever/near_duplicates.h"
#include "retriever/pooling.h"
#include "retriever/reranker.h"
#include "retriever/whitening.h"
#include "tests/base/expect_error.h"

namespace gritstone {
namespace {

std::vector<ChunkId> ids_of(const std::vector<FusedChunk>& fused) {
  std::vector<ChunkId> ids;
  for (const FusedChunk& c : fused) ids.push_back(c.id);
  return ids;
}

TEST(Fusion, ConvexCombinationOfNormalisedScores) {
  const std::vector<ScoredChunk> bm25{{1, 10}, {2, 6}, {3, 2}};
  const std::vector<ScoredChunk> dense{{3, 0.9f}, {2, 0.5f}, {4, 0.1f}};
  const auto fused = fuse(bm25, dense, FusionKind::kConvex, 0.25);
  ASSERT_EQ(fused.size(), 4u);
  EXPECT_EQ(ids_of(fused), (std::vector<ChunkId>{1, 2, 3, 4}));
  EXPECT_DOUBLE_EQ(fused[0].score, 0.75);
  EXPECT_NEAR(fused[1].score, 0.75 * 0.5 + 0.25 * 0.5, 1e-6);
  EXPECT_DOUBLE_EQ(fused[2].score, 0.25);
  EXPECT_DOUBLE_EQ(fused[3].score, 0.0);
  EXPECT_FALSE(fused[0].dense.has_value());
  EXPECT_EQ(fused[2].bm25_rank, 3u);
  EXPECT_EQ(fused[2].dense_rank, 1u);
  EXPECT_EQ(fused[0].dense_rank, 0u);
}

TEST(Fusion, OneEmptyListGivesItsWeightToTheOther) {
  const std::vector<ScoredChunk> list{{7, 3}, {8, 1}};
  EXPECT_DOUBLE_EQ(fuse(list, {}, FusionKind::kConvex, 0.9)[0].score, 1.0);
  EXPECT_DOUBLE_EQ(fuse({}, list, FusionKind::kConvex, 0.1)[0].score, 1.0);
  EXPECT_TRUE(fuse({}, {}, FusionKind::kConvex, 0.5).empty());
  EXPECT_GS_ERROR(fuse(list, list, FusionKind::kConvex, 1.5), ErrorCode::kInvalidArgument, "dense weight is 1.5");
}

TEST(Fusion, ReciprocalRanksAndTiesById) {
  const std::vector<ScoredChunk> bm25{{9, 5}, {4, 5}, {2, 1}};
  const std::vector<ScoredChunk> dense{{2, 1}, {9, 0.5f}};
  const auto fused = fuse(bm25, dense, FusionKind::kRrf, 0.5);
  // Equal BM25 scores rank by id: 4 before 9.
  EXPECT_NEAR(fused[0].score, 1.0 / 61 + 1.0 / 63, 1e-12);
  EXPECT_EQ(ids_of(fused), (std::vector<ChunkId>{2, 9, 4}));
  const std::vector<ScoredChunk> equal{{5, 1}, {3, 1}};
  EXPECT_EQ(ids_of(fuse(equal, {}, FusionKind::kConvex, 0)), (std::vector<ChunkId>{3, 5}));
}

TEST(Rerank, MixesNormalisedScoresAndKeepsTheRestBehind) {
  const std::vector<double> first{10, 8, 6, 5, 1}, second{-3, -1, -2};
  const std::vector<double> mixed = interpolate(first, second, 0.25);
  EXPECT_DOUBLE_EQ(mixed[0], 0.75 * 1 + 0.25 * 0);
  EXPECT_DOUBLE_EQ(mixed[1], 0.75 * 0.5 + 0.25 * 1);
  EXPECT_DOUBLE_EQ(mixed[2], 0.75 * 0 + 0.25 * 0.5);
  EXPECT_DOUBLE_EQ(mixed[3], -0.25);
  EXPECT_DOUBLE_EQ(mixed[4], -1.25);
  // Nothing to tell apart: all 1, and what follows still lies behind.
  const std::vector<double> equal = interpolate(std::vector<double>{2, 2, 1}, std::vector<double>{-1, -1}, 0.5);
  EXPECT_EQ(equal, (std::vector<double>{1, 1, -1}));
  EXPECT_EQ(interpolate(first, {}, 0.5), first);
}

TEST(Whitening, FindsTheStrongDirectionsAndTakesThemOut) {
  constexpr std::size_t kRows = 400, kDim = 24;
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  std::vector<float> rows(kRows * kDim);
  for (std::size_t i = 0; i < kRows; ++i) {
    const float strong = 3 * normal(random), second = 1.5f * normal(random);
    for (std::size_t c = 0; c < kDim; ++c) rows[i * kDim + c] = 0.2f * normal(random) + 5;
    rows[i * kDim + 3] += strong;
    rows[i * kDim + 4] += strong;
    rows[i * kDim + 7] += second;
    rows[i * kDim + 8] += second;
    rows[i * kDim + 8] += 0.5f * normal(random);
  }
  const MatrixView<const float> view(rows.data(), kRows, kDim);
  const EmbedStatistics s = embed_statistics(view, {}, 2);
  // Scaled columns weigh alike, so the directions are where columns move together.
  ASSERT_EQ(s.components.size(), 2u);
  EXPECT_GT(std::abs(s.components[0][3]) + std::abs(s.components[0][4]), 1.3f);
  EXPECT_GT(std::abs(s.components[1][7]) + std::abs(s.components[1][8]), 1.3f);
  EXPECT_NEAR(dot(s.components[0], s.components[1]), 0, 1e-5);
  EXPECT_NEAR(dot(s.components[0], s.components[0]), 1, 1e-5);
  EXPECT_EQ(embed_statistics(view, {}, 2), s);
  EXPECT_NEAR(s.mean[0], 5, 0.1);
  EXPECT_GT(s.deviation[3] / s.deviation[0], 10);
  std::vector<float> row(rows.begin(), rows.begin() + kDim);
  s.apply(row, TextRole::kDocument);
  EXPECT_NEAR(dot(row, row), 1, 1e-5);
  EXPECT_NEAR(dot(row, s.components[0]), 0, 1e-4);
  EXPECT_NEAR(dot(row, s.components[1]), 0, 1e-4);
}

TEST(Whitening, RowsWithoutDirectionStayAsTheyAre) {
  const std::vector<float> rows{0.6f, 0.8f, 0.6f, 0.8f};
  const EmbedStatistics s = embed_statistics(MatrixView<const float>(rows.data(), 2, 2), {}, 4);
  EXPECT_TRUE(s.components.empty());
  std::vector<float> row{0.6f, 0.8f};
  s.apply(row, TextRole::kDocument);
  EXPECT_EQ(row, (std::vector<float>{0.6f, 0.8f}));
  std::vector<float> other{0.8f, 0.6f};
  s.apply(other, TextRole::kDocument);
  EXPECT_NEAR(other[0], std::sqrt(0.5), 1e-5);
  EXPECT_NEAR(other[1], -std::sqrt(0.5), 1e-5);
}

TEST(Whitening, QueriesHaveTheirOwnMeanAndFewRowsShrinkTheDeviation) {
  const std::vector<float> rows{1, 10, 5, 3, 10, 5};
  const std::vector<float> queries{4, 4, 4, 6, 6, 6};
  const EmbedStatistics s = embed_statistics(MatrixView<const float>(rows.data(), 2, 3), MatrixView<const float>(queries.data(), 2, 3), 0);
  EXPECT_EQ(s.mean, (std::vector<float>{2, 10, 5}));
  EXPECT_EQ(s.query_mean, (std::vector<float>{5, 5, 5}));
  // Variances 1, 0, 0 of two rows and their average of 1/3 in eight more.
  EXPECT_NEAR(s.deviation[0], std::sqrt((2 + 8.0 / 3) / 10), 1e-6);
  EXPECT_NEAR(s.deviation[1], std::sqrt((8.0 / 3) / 10), 1e-6);
  std::vector<float> document{3, 10, 5};
  s.apply(document, TextRole::kDocument);
  EXPECT_NEAR(document[0], 1, 1e-6);
  std::vector<float> query{5, 6, 5};
  s.apply(query, TextRole::kQuery);
  EXPECT_NEAR(query[1], 1, 1e-6);
}

TEST(NearDuplicates, SameWordsAlmostEverywhere) {
  const std::string text =
      "The harbour of Brannoch freezes in hard winters, and then the ferry sails from the outer pier at seven in the morning and at "
      "four in the afternoon, weather permitting, as it has since 1931.";
  std::string edited = text;
  edited.replace(edited.find("1931"), 4, "1932");
  EXPECT_DOUBLE_EQ(TextSketch(text).containment(TextSketch(text)), 1.0);
  EXPECT_GE(TextSketch(text).containment(TextSketch(edited)), kNearDuplicate);
  EXPECT_GE(TextSketch(text).containment(TextSketch(text + " More text stands behind it here.")), kNearDuplicate);
  EXPECT_LT(TextSketch(text).containment(TextSketch("The harbour of Brannoch is deep. The ferry sails at noon.")), 0.5);
  EXPECT_EQ(TextSketch("").containment(TextSketch("")), 0.0);
  EXPECT_EQ(TextSketch("Yes").containment(TextSketch("yes!")), 1.0);
}

}  // namespace
}  // namespace gritstone
