// The experts' products of every format and tile shape against double sums, and their bits across shapes and numbers of pairs.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

#include "model/kernels/cuda/gemm_variants.h"
#include "model/kernels/cuda/ops.h"
#include "tests/model/cuda/device_array.h"
#include "tests/model/cuda/gemm_weights.h"

namespace gritstone::cuda {
namespace {

// Pairs of rows and experts on the device.
struct Routing {
  Routing(const std::vector<std::int32_t>& counts, std::uint32_t rows) {
    offsets.push_back(0);
    for (const std::int32_t count : counts) offsets.push_back(offsets.back() + count);
    row_of_pair = random_indices(3, static_cast<std::size_t>(offsets.back()), static_cast<std::int32_t>(rows));
    device_offsets = DeviceArray<std::int32_t>(offsets);
    device_rows = DeviceArray<std::int32_t>(row_of_pair);
  }
  ExpertPairs view() {
    device_tickets = DeviceArray<std::uint32_t>(std::vector<std::uint32_t>(kTickets, 0));
    return {static_cast<std::uint32_t>(row_of_pair.size()), device_offsets.data(), device_rows.data(), nullptr, device_tickets.data()};
  }
  std::size_t expert_of(std::size_t pair) const {
    std::size_t expert = 0;
    while (static_cast<std::size_t>(offsets[expert + 1]) <= pair) ++expert;
    return expert;
  }

  std::vector<std::int32_t> offsets, row_of_pair;
  DeviceArray<std::int32_t> device_offsets, device_rows;
  DeviceArray<std::uint32_t> device_tickets;
};

class ExpertsGemm : public testing::TestWithParam<FormatCase> {
 protected:
  void SetUp() override { GS_REQUIRE_DEVICE(); }
};

std::vector<half_bits> gate_up(int variant, const TestWeights& weights, const DeviceArray<half_bits>& x, Routing& routing,
                               HalfType h_type) {
  DeviceArray<half_bits> h(routing.row_of_pair.size() * (weights.view().rows / 2));
  experts_gate_up_variant(nullptr, variant, weights.view(), x.data(), routing.view(), h.data(), h_type);
  return h.download();
}

std::vector<half_bits> down(int variant, const TestWeights& weights, const DeviceArray<half_bits>& h, Routing& routing) {
  DeviceArray<half_bits> y(routing.row_of_pair.size() * weights.view().rows);
  experts_down_variant(nullptr, variant, weights.view(), h.data(), routing.view(), y.data());
  return y.download();
}

// Besides the error of its sums, a value has that of its rounding.
void expect_near(half_bits got, HalfType type, double expected, double error) {
  const double rounding = type == HalfType::kF16 ? 1.0 / 2000 : 1.0 / 250;
  ASSERT_NEAR(double{from_half(got, type)}, expected, 1e-6 + std::abs(expected) * rounding + error);
}

struct Shape {
  std::vector<std::int32_t> counts;  // pairs of each expert
  std::uint32_t rows, outputs, cols;
};

const Shape kShapes[] = {
    {{0, 3, 0, 20, 1, 0, 70, 0}, 40, 64, 64},
    {{5}, 7, 34, 32},
    {{0, 131, 16}, 90, 300, 96},
};

TEST_P(ExpertsGemm, GateUpMatchesDoubleSums) {
  for (const Shape& s : kShapes) {
    const TestWeights weights(GetParam(), static_cast<std::uint32_t>(s.counts.size()), s.outputs, s.cols, s.rows);
    const std::vector<float> x = random_halves(s.cols, std::size_t{s.rows} * s.cols, weights.type());
    const DeviceArray<half_bits> device_x = upload_halves(x, weights.type());
    Routing routing(s.counts, s.rows);
    const std::size_t ffn = s.outputs / 2;
    for (int variant = 0; variant < kGemmVariants; ++variant) {
      if (!has_gemm_variant(variant, GetParam().format)) continue;
      // h is of the type that the weights after these take.
      const HalfType h_type = variant % 2 == 0 ? HalfType::kF16 : HalfType::kBF16;
      const std::vector<half_bits> h = gate_up(variant, weights, device_x, routing, h_type);
      for (std::size_t i = 0; i < h.size(); ++i) {
        SCOPED_TRACE(testing::Message() << "variant " << variant << ", pair " << i / ffn << ", column " << i % ffn);
        const std::size_t expert = routing.expert_of(i / ffn);
        const float* row = x.data() + static_cast<std::size_t>(routing.row_of_pair[i / ffn]) * s.cols;
        const TestWeights::Product gate = weights.product(expert, i % ffn * 2, row), up = weights.product(expert, i % ffn * 2 + 1, row);
        const double silu = gate.sum / (1 + std::exp(-gate.sum));
        expect_near(h[i], h_type, silu * up.sum, 1.1 * gate.error * std::abs(up.sum) + (std::abs(silu) + gate.error) * up.error);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(ExpertsGemm, DownMatchesDoubleSums) {
  for (const Shape& s : kShapes) {
    for (const std::uint32_t outputs : {s.outputs, 97u}) {
      const TestWeights weights(GetParam(), static_cast<std::uint32_t>(s.counts.size()), outputs, s.cols, s.rows);
      Routing routing(s.counts, s.rows);
      const std::vector<float> h = random_halves(s.cols, routing.row_of_pair.size() * s.cols, weights.type());
      const DeviceArray<half_bits> device_h = upload_halves(h, weights.type());
      for (int variant = 0; variant < kGemmVariants; ++variant) {
        if (!has_gemm_variant(variant, GetParam().format)) continue;
        const std::vector<half_bits> y = down(variant, weights, device_h, routing);
        for (std::size_t i = 0; i < y.size(); ++i) {
          SCOPED_TRACE(testing::Message() << "variant " << variant << ", pair " << i / outputs << ", output " << i % outputs);
          const auto p = weights.product(routing.expert_of(i / outputs), i % outputs, h.data() + i / outputs * s.cols);
          expect_near(y[i], weights.type(), p.sum, p.error);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST_P(ExpertsGemm, BitsDependOnNeitherShapeNorPairs) {
  constexpr std::uint32_t kRows = 50, kOutputs = 72, kCols = 160;
  const TestWeights up(GetParam(), 3, kOutputs, kCols, 12);
  const DeviceArray<half_bits> x = upload_halves(random_halves(13, kRows * kCols, up.type()), up.type());
  Routing routing({17, 70, 30}, kRows);
  const std::vector<half_bits> h = gate_up(3, up, x, routing, up.type());
  const DeviceArray<half_bits> inputs = upload_halves(random_halves(14, routing.row_of_pair.size() * kCols, up.type()), up.type());
  const std::vector<half_bits> y = down(3, up, inputs, routing);
  for (int variant = 0; variant < kWarpgroupVariant; ++variant) {
    if (!has_gemm_variant(variant, GetParam().format)) continue;
    EXPECT_EQ(gate_up(variant, up, x, routing, up.type()), h) << variant;
    EXPECT_EQ(down(variant, up, inputs, routing), y) << variant;
  }
  // The first 17 pairs alone.
  Routing few({17, 0, 0}, kRows);
  DeviceArray<half_bits> few_h(17 * kOutputs / 2), few_y(17 * kOutputs);
  experts_gate_up_gemm(nullptr, up.view(), x.data(), few.view(), few_h.data(), up.type(), true);
  experts_down_gemm(nullptr, up.view(), inputs.data(), few.view(), few_y.data(), true);
  EXPECT_EQ(few_h.download(), std::vector<half_bits>(h.begin(), h.begin() + 17 * kOutputs / 2));
  EXPECT_EQ(few_y.download(), std::vector<half_bits>(y.begin(), y.begin() + 17 * kOutputs));
}

TEST_P(ExpertsGemm, ManyExperts) {
  // More experts than lanes, most of them without pairs; every expert in turn owns the last tile.
  constexpr std::uint32_t kExperts = 70, kOutputs = 32, kCols = 32;
  std::vector<std::int32_t> counts(kExperts, 0);
  for (std::uint32_t e = 0; e < kExperts; e += 3) counts[e] = static_cast<std::int32_t>(e % 5);
  counts[kExperts - 1] = 18;
  const TestWeights weights(GetParam(), kExperts, kOutputs, kCols, 15);
  Routing routing(counts, 1);
  const std::vector<float> h = random_halves(16, routing.row_of_pair.size() * kCols, weights.type());
  const std::vector<half_bits> y = down(0, weights, upload_halves(h, weights.type()), routing);
  for (std::size_t i = 0; i < y.size(); ++i) {
    const auto p = weights.product(routing.expert_of(i / kOutputs), i % kOutputs, h.data() + i / kOutputs * kCols);
    expect_near(y[i], weights.type(), p.sum, p.error);
    if (HasFatalFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, ExpertsGemm, testing::ValuesIn(kGemmFormats),
                         [](const auto& c) { return testing::PrintToString(c.param); });

}  // namespace
}  // namespace gritstone::cuda
