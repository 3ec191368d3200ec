// Planes of spans: what comes back is as close as the type promises, whatever the shape, and the sizes are those that the budget counts on.
#include "model/kv_codec.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "model/kernels/kernel_table.h"

namespace gritstone {
namespace {

// Rows whose channels differ in size and offset, as those of K do.
std::vector<float> channel_rows(std::size_t tokens, std::size_t dim, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> size(dim), offset(dim), rows(tokens * dim);
  for (std::size_t i = 0; i < dim; ++i) {
    size[i] = std::exp(normal(random));
    offset[i] = 5.0f * normal(random);
  }
  for (std::size_t t = 0; t < tokens; ++t) {
    for (std::size_t i = 0; i < dim; ++i) rows[t * dim + i] = offset[i] + size[i] * normal(random);
  }
  return rows;
}

class KvCodecTest : public ::testing::TestWithParam<KernelTable> {};

TEST_P(KvCodecTest, RoundTripOfWholesAndParts) {
  const VectorKernels& kernels = *GetParam().vector;
  for (const KvType type : {KvType::kF32, KvType::kBF16, KvType::kInt8, KvType::kInt4}) {
    for (const std::size_t dim : {8u, 24u, 40u, 64u, 128u}) {
      for (const std::size_t tokens : {1u, 100u, 256u, 300u}) {
        for (const bool value : {false, true}) {
          auto [span, bytes] = make_kv_span(type, KvShape{1, 1, dim}, tokens);
          const std::vector<float> rows = channel_rows(tokens, dim, dim + tokens);
          std::uint8_t* plane = bytes.data() + (span.plane(0, value, 0) - span.bytes.data());
          encode_plane(kernels, type, value, rows.data(), tokens, dim, plane);
          std::vector<float> back(rows.size()), reference(rows.size());
          decode_plane(kernels, span, 0, value, 0, 0, tokens, back.data());
          decode_plane(vector_kernels_scalar(), span, 0, value, 0, 0, tokens, reference.data());
          EXPECT_EQ(back, reference) << "bits differ from scalar";
          for (std::size_t t = 0; t < tokens; ++t) {
            const auto row = rows.begin() + static_cast<std::ptrdiff_t>(t * dim);
            const auto [low, high] = std::minmax_element(row, row + static_cast<std::ptrdiff_t>(dim));
            for (std::size_t i = 0; i < dim; ++i) {
              float bound = 0.0f;
              if (type == KvType::kBF16) bound = std::abs(row[static_cast<std::ptrdiff_t>(i)]) / 256.0f;
              if (type == KvType::kInt8) bound = std::max(std::abs(*low), std::abs(*high)) / 127.0f * 0.501f;
              if (type == KvType::kInt4) {
                float least = *low, most = *high;
                if (!value) {  // of this channel, over at most the whole span
                  least = most = rows[i];
                  for (std::size_t u = 0; u < tokens; ++u) {
                    least = std::min(least, rows[u * dim + i]);
                    most = std::max(most, rows[u * dim + i]);
                  }
                }
                // Half a step, and what rounding the bounds to f16 takes.
                bound = (most - least) / 30.0f * 1.02f + std::max(std::abs(least), std::abs(most)) / 1024.0f;
              }
              ASSERT_NEAR(back[t * dim + i], row[static_cast<std::ptrdiff_t>(i)], bound) << "token " << t << " column " << i;
            }
          }
          // Any stretch decodes to the same bits as in the whole.
          for (const std::size_t first : {std::size_t{0}, tokens / 3, tokens - 1}) {
            const std::size_t count = (tokens - first + 1) / 2;
            std::vector<float> part(count * dim);
            decode_plane(kernels, span, 0, value, 0, first, count, part.data());
            EXPECT_TRUE(std::equal(part.begin(), part.end(), back.begin() + static_cast<std::ptrdiff_t>(first * dim)));
          }
        }
      }
    }
  }
}

TEST(KvSpan, BytesOfATokenOfOlmoe) {
  const auto kib_a_token = [](KvType type) {
    KvSpan span;
    span.type = type;
    span.shape = {16, 16, 128};
    span.tokens = 256;
    return static_cast<double>(span.total_bytes()) / 256 / 1024;
  };
  EXPECT_EQ(kib_a_token(KvType::kBF16), 128);
  EXPECT_EQ(kib_a_token(KvType::kInt8), 66);
  EXPECT_EQ(kib_a_token(KvType::kInt4), 34);
}

INSTANTIATE_TEST_SUITE_P(EveryIsa, KvCodecTest, ::testing::ValuesIn(available_kernels()),
                         [](const auto& table) { return std::string(table.param.isa); });

}  // namespace
}  // namespace gritstone
