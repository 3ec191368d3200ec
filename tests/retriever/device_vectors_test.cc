// Searching with the device's candidates gives what searching without it gives, near ties and failures included.
#include "retriever/device_vectors.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "base/error.h"
#include "index/faiss_vectors.h"
#include "model/dtype.h"

namespace gritstone {
namespace {

constexpr std::size_t kRows = 2000, kDim = 16;

// As the GPU does it: the query is rounded to f16, and nothing else is known of the index.
class RoundingSearch : public DeviceSearch {
 public:
  RoundingSearch(std::span<const float> rows, std::size_t dim) : rows_(rows), dim_(dim) {}
  std::vector<Hit> search(std::span<const float> query, std::size_t k) override {
    ++searches;
    std::vector<Hit> hits(rows_.size() / dim_);
    for (std::size_t i = 0; i < hits.size(); ++i) {
      hits[i].row = i;
      for (std::size_t d = 0; d < dim_; ++d) hits[i].score += rows_[i * dim_ + d] * f16_to_f32(f32_to_f16(query[d]));
    }
    std::sort(hits.begin(), hits.end(), [](const Hit& a, const Hit& b) { return a.score != b.score ? a.score > b.score : a.row < b.row; });
    hits.resize(std::min(k, hits.size()));
    return hits;
  }

  static inline std::size_t searches = 0;

 private:
  const std::span<const float> rows_;
  const std::size_t dim_;
};

std::unique_ptr<DeviceSearch> make_rounding(std::span<const float> rows, std::size_t dim) {
  return std::make_unique<RoundingSearch>(rows, dim);
}

// spread: how far rows lie apart; small ones make the query's rounding decide the order.
std::shared_ptr<const VectorIndex> make_index(float spread, std::size_t rows = kRows) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  std::vector<float> values(rows * kDim);
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = f16_to_f32(f32_to_f16((i % kDim == 0 ? 1.0f : 0.0f) + spread * normal(random)));
  std::vector<ChunkId> ids(rows);
  for (std::size_t i = 0; i < rows; ++i) ids[i] = static_cast<ChunkId>(3 * i + 1);
  return build_vector_index(kDim, std::move(ids), values, 0);
}

std::vector<float> random_query(unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> query(kDim);
  for (float& x : query) x = normal(random);
  return query;
}

void expect_equal(const VectorIndex& a, const VectorIndex& b, std::size_t k) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    const std::vector<float> query = random_query(seed);
    const std::vector<ScoredChunk> x = a.search(query, k), y = b.search(query, k);
    ASSERT_EQ(x.size(), y.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
      ASSERT_EQ(x[i].id, y[i].id) << seed << ", " << i;
      ASSERT_EQ(x[i].score, y[i].score) << seed << ", " << i;
    }
  }
}

TEST(DeviceVectors, GiveTheIndexsOwnResults) {
  for (const float spread : {1.0f, 1e-2f, 1e-4f, 0.0f}) {
    const auto index = make_index(spread);
    VectorPlacement placement(make_rounding, 1);
    RoundingSearch::searches = 0;
    const auto placed = placement.place(index);
    ASSERT_NE(placed, index);
    for (const std::size_t k : {std::size_t{1}, std::size_t{64}, std::size_t{300}}) expect_equal(*placed, *index, k);
    EXPECT_GE(RoundingSearch::searches, 40u);
  }
}

TEST(DeviceVectors, WhatIsNotForTheDeviceGoesToTheIndex) {
  const auto index = make_index(1.0f);
  VectorPlacement placement(make_rounding, 1);
  const auto placed = placement.place(index);
  RoundingSearch::searches = 0;
  const std::vector<ChunkId> allowed{1, 4, 7, 10};
  EXPECT_EQ(placed->search(random_query(1), 2, &allowed).size(), 2u);
  EXPECT_THROW(placed->search(std::vector<float>(kDim + 1), 2), Error);
  std::vector<float> huge = random_query(2);
  huge[3] = 1e6f;  // no f16
  EXPECT_EQ(placed->search(huge, 1)[0].id, index->search(huge, 1)[0].id);
  EXPECT_EQ(RoundingSearch::searches, 0u);
  EXPECT_EQ(placed->row(4), index->row(4));
  EXPECT_EQ(placed->size(), index->size());
}

TEST(VectorPlacement, PlacesLargeIndexesOnceAndForgetsOldOnes) {
  std::size_t made = 0;
  VectorPlacement placement(
      [&](std::span<const float> rows, std::size_t dim) {
        ++made;
        return make_rounding(rows, dim);
      },
      kRows * kDim);
  EXPECT_EQ(placement.place(nullptr), nullptr);
  const auto small = make_index(1.0f, kRows - 1);
  EXPECT_EQ(placement.place(small), small);
  EXPECT_EQ(made, 0u);
  auto index = make_index(1.0f);
  const auto placed = placement.place(index);
  EXPECT_EQ(placement.place(index), placed);
  EXPECT_EQ(made, 1u);

  auto second = make_index(0.5f);
  std::weak_ptr<const VectorIndex> on_device = placement.place(second);
  EXPECT_EQ(made, 2u);
  second.reset();
  EXPECT_FALSE(on_device.expired());
  placement.place(index);
  EXPECT_TRUE(on_device.expired()) << "nobody asks for the older generation any more";
}

TEST(VectorPlacement, WithoutRoomTheIndexSearches) {
  std::size_t asked = 0;
  VectorPlacement placement(
      [&](std::span<const float>, std::size_t) -> std::unique_ptr<DeviceSearch> {
        ++asked;
        throw Error(ErrorCode::kMemoryBudget, "no room");
      },
      1);
  const auto index = make_index(1.0f);
  EXPECT_EQ(placement.place(index), index);
  EXPECT_EQ(placement.place(index), index);
  EXPECT_EQ(asked, 1u) << "once is enough";
}

}  // namespace
}  // namespace gritstone
