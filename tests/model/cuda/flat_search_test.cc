// Exact search against a sort of all scores.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include "model/dtype.h"
#include "model/kernels/cuda/blas.h"
#include "model/kernels/cuda/ops.h"
#include "tests/model/cuda/device_array.h"

namespace gritstone::cuda {
namespace {

struct Case {
  std::size_t n;
  std::uint32_t dim, queries, k;
};

std::vector<std::uint16_t> random_halves(std::size_t count, std::mt19937& random) {
  // Few values, so that scores collide and the order of ids shows.
  std::uniform_int_distribution<int> value(-2, 2);
  std::vector<std::uint16_t> bits(count);
  for (std::uint16_t& b : bits) b = f32_to_f16(static_cast<float>(value(random)));
  return bits;
}

class FlatSearch : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override { GS_REQUIRE_DEVICE(); }
};

TEST_P(FlatSearch, EqualsASort) {
  const Case c = GetParam();
  std::mt19937 random(static_cast<unsigned>(c.n + c.k));
  const std::vector<std::uint16_t> vectors = random_halves(c.n * c.dim, random), queries = random_halves(c.queries * c.dim, random);
  const DeviceArray<std::uint16_t> device_vectors(vectors), device_queries(queries);
  DeviceArray<std::int64_t> ids(c.queries * c.k);
  DeviceArray<float> scores(c.queries * c.k);
  const DeviceBuffer workspace(flat_search_workspace(c.n, c.queries, c.k));
  Blas blas(nullptr);
  flat_search(nullptr, blas, reinterpret_cast<const __half*>(device_vectors.data()), c.n, c.dim,
              reinterpret_cast<const __half*>(device_queries.data()), c.queries, c.k, workspace.data(), ids.data(), scores.data());
  const std::vector<std::int64_t> got_ids = ids.download();
  const std::vector<float> got_scores = scores.download();
  for (std::uint32_t q = 0; q < c.queries; ++q) {
    std::vector<float> all(c.n, 0.0f);
    for (std::size_t i = 0; i < c.n; ++i) {
      for (std::uint32_t d = 0; d < c.dim; ++d) all[i] += f16_to_f32(vectors[i * c.dim + d]) * f16_to_f32(queries[q * c.dim + d]);
    }
    std::vector<std::int64_t> order(c.n);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](auto a, auto b) { return all[static_cast<std::size_t>(a)] > all[static_cast<std::size_t>(b)]; });
    for (std::uint32_t i = 0; i < c.k; ++i) {
      const std::int64_t want = i < c.n ? order[i] : -1;
      ASSERT_EQ(got_ids[q * c.k + i], want) << "query " << q << ", rank " << i;
      EXPECT_EQ(got_scores[q * c.k + i], want < 0 ? -INFINITY : all[static_cast<std::size_t>(want)]);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, FlatSearch,
                         testing::Values(Case{1, 8, 1, 1}, Case{5, 16, 2, 10}, Case{300, 24, 3, 256}, Case{4096, 32, 1, 7},
                                         Case{4097, 32, 7, 100}, Case{20000, 16, 12, 50}, Case{270000, 8, 1, 20}));

}  // namespace
}  // namespace gritstone::cuda
