// The largest logits of every row against a sort.
#include <gtest/gtest.h>

#include "model/kernels/cuda/ops.h"
#include "tests/model/cuda/device_array.h"
#include "tests/model/logit_rows.h"

namespace gritstone::cuda {
namespace {

struct Case {
  std::uint32_t rows, vocab, k;
};

class TopLogitsOnDevice : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override { GS_REQUIRE_DEVICE(); }
};

TEST_P(TopLogitsOnDevice, EqualASort) {
  const Case c = GetParam();
  std::mt19937 random(c.vocab + c.k);
  std::vector<float> logits;
  for (std::uint32_t row = 0; row < c.rows; ++row) {
    const std::vector<float> values = logit_row(kRowKinds[row % std::size(kRowKinds)], c.vocab, random);
    logits.insert(logits.end(), values.begin(), values.end());
  }
  const DeviceArray<float> device_logits(logits);
  const DeviceArray<std::uint8_t> workspace(top_logits_workspace(c.rows, c.vocab, c.k));
  const PinnedBuffer page_locked(c.rows * c.k * sizeof(TopLogit));
  const DeviceArray<TopLogit> on_device(c.rows * c.k);
  top_logits(nullptr, device_logits.data(), c.rows, c.vocab, c.k, workspace.data(), page_locked.as<TopLogit>());
  top_logits(nullptr, device_logits.data(), c.rows, c.vocab, c.k, workspace.data(), on_device.data());
  const std::vector<TopLogit> got = on_device.download();  // waits
  EXPECT_TRUE(std::equal(got.begin(), got.end(), page_locked.as<TopLogit>()));
  for (std::uint32_t row = 0; row < c.rows; ++row) {
    const std::vector<TopLogit> want = sorted_top(std::span(logits).subspan(std::size_t{row} * c.vocab, c.vocab), c.k);
    for (std::uint32_t i = 0; i < c.k; ++i) ASSERT_EQ(got[row * c.k + i], want[i]) << "row " << row << ", rank " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, TopLogitsOnDevice,
                         testing::Values(Case{8, 1, 1}, Case{8, 1, 256}, Case{8, 97, 16}, Case{8, 100, 256}, Case{8, 255, 1},
                                         Case{16, 4096, 128}, Case{8, 4097, 256}, Case{9, 50304, 16}, Case{8, 50304, 128},
                                         Case{8, 50304, 256}, Case{8, 131'071, 256}, Case{3, 20'011, 1}));

}  // namespace
}  // namespace gritstone::cuda
