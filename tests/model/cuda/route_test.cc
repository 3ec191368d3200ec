// Routing: the choice of experts, the sort of pairs by expert, and the sum of the experts' outputs.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

#include "model/kernels/cuda/ops.h"
#include "tests/model/cuda/device_array.h"
#include "tests/model/cuda/random_values.h"

namespace gritstone::cuda {
namespace {

struct RouteShape {
  std::uint32_t rows, experts, used;
};

TEST(Route, TakesTheLargestProbabilities) {
  GS_REQUIRE_DEVICE();
  for (const RouteShape s : {RouteShape{1, 64, 8}, {37, 8, 3}, {5, 33, 32}, {9, 256, 8}, {3, 1, 1}}) {
    for (const bool normalise : {false, true}) {
      std::vector<float> logits = random_values(s.experts, s.rows * s.experts);
      // Ties, and one so low that its probability is 0.
      for (float& l : logits) l = std::round(l * 4) / 2;
      logits.back() = -200;
      const DeviceArray<float> device(logits), weights(s.rows * s.used);
      const DeviceArray<std::int32_t> chosen(s.rows * s.used);
      route(nullptr, device.data(), s.rows, s.experts, s.used, normalise, chosen.data(), weights.data());
      const std::vector<float> p = device.download(), w = weights.download();
      const std::vector<std::int32_t> c = chosen.download();
      for (std::size_t r = 0; r < s.rows; ++r) {
        const float* row = logits.data() + r * s.experts;
        const double top = double{*std::max_element(row, row + s.experts)};
        double sum = 0;
        for (std::uint32_t e = 0; e < s.experts; ++e) sum += std::exp(double{row[e]} - top);
        for (std::uint32_t e = 0; e < s.experts; ++e) ASSERT_NEAR(p[r * s.experts + e], std::exp(double{row[e]} - top) / sum, 1e-6);
        std::vector<std::int32_t> order(s.experts);
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return row[a] > row[b]; });
        double chosen_sum = 0;
        for (std::uint32_t j = 0; j < s.used; ++j) chosen_sum += std::exp(double{row[order[j]]} - top) / sum;
        for (std::uint32_t j = 0; j < s.used; ++j) {
          ASSERT_EQ(c[r * s.used + j], order[j]) << s.experts << " experts, row " << r << ", choice " << j;
          const double weight = std::exp(double{row[order[j]]} - top) / sum;
          ASSERT_NEAR(w[r * s.used + j], normalise ? weight / chosen_sum : weight, 1e-6);
        }
      }
    }
  }
}

TEST(Route, SortOfPairsIsStable) {
  GS_REQUIRE_DEVICE();
  for (const RouteShape s : {RouteShape{1, 8, 3}, {8, 64, 8}, {128, 64, 8}, {129, 64, 8}, {1000, 5, 3}, {700, 256, 7}, {300, 1, 1}}) {
    const std::uint32_t pairs = s.rows * s.used;
    std::vector<std::int32_t> choices = random_indices(s.rows, pairs, static_cast<std::int32_t>(s.experts));
    // An expert that nobody chose, if there are several.
    if (s.experts > 2) std::replace(choices.begin(), choices.end(), 2, 1);
    const DeviceArray<std::int32_t> chosen(choices), scratch(sort_scratch_ints(s.rows, s.used, s.experts));
    const DeviceArray<std::int32_t> offsets(s.experts + 1), row_of_pair(pairs), pair_of_choice(pairs);
    const DeviceArray<std::uint32_t> tickets(std::vector<std::uint32_t>(kTickets, 7));
    sort_pairs(nullptr, chosen.data(), s.rows, s.used, s.experts, scratch.data(),
               {pairs, offsets.data(), row_of_pair.data(), pair_of_choice.data(), tickets.data()});
    EXPECT_EQ(tickets.download(), std::vector<std::uint32_t>(kTickets, 0));

    std::vector<std::int32_t> order(pairs), begin(s.experts + 1), rows(pairs), places(pairs);
    std::iota(order.begin(), order.end(), 0);
    const auto expert = [&](std::int32_t choice) { return choices[static_cast<std::size_t>(choice)]; };
    std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) { return expert(a) < expert(b); });
    for (std::uint32_t p = 0; p < pairs; ++p) {
      rows[p] = order[p] / static_cast<std::int32_t>(s.used);
      places[static_cast<std::size_t>(order[p])] = static_cast<std::int32_t>(p);
      ++begin[static_cast<std::size_t>(expert(order[p])) + 1];
    }
    std::partial_sum(begin.begin(), begin.end(), begin.begin());
    EXPECT_EQ(offsets.download(), begin) << s.rows;
    EXPECT_EQ(row_of_pair.download(), rows) << s.rows;
    EXPECT_EQ(pair_of_choice.download(), places) << s.rows;
  }
}

TEST(Route, CombineAddsWeightedOutputsAndNormsThem) {
  GS_REQUIRE_DEVICE();
  constexpr float kEps = 1e-5f;
  for (const std::uint32_t width : {8u, 64u, 2048u, 2056u, 4104u}) {
    for (const std::uint32_t used : {1u, 3u, 8u, 11u}) {
      constexpr std::uint32_t kRows = 5;
      const std::uint32_t pairs = kRows * used;
      const std::vector<float> x = random_values(width, kRows * width), outputs = random_values(width + 1, pairs * width),
                               weights = random_values(used, pairs);
      const HalfType type = used % 2 == 1 ? HalfType::kF16 : HalfType::kBF16;
      std::vector<half_bits> y(outputs.size());
      for (std::size_t i = 0; i < y.size(); ++i) y[i] = to_half(outputs[i], type);
      const std::vector<std::int32_t> places = random_indices(used, pairs, static_cast<std::int32_t>(pairs));
      const DeviceArray<float> device_x(x), device_weights(weights);
      const DeviceArray<half_bits> device_y(y);
      const DeviceArray<std::int32_t> pair_of_choice(places);
      combine_experts(nullptr, device_y.data(), type, pair_of_choice.data(), device_weights.data(), kRows, used, width, device_x.data());
      const std::vector<float> sum = device_x.download();
      // The same with the norm of the next layer, which has fewer rows, as many, or none.
      const std::vector<float> norm = random_values(width + 2, width);
      const DeviceArray<float> again(x), device_norm(norm);
      const DeviceArray<half_bits> normed((kRows + 1) * width);
      NextNorm next{device_norm.data(), kEps, used == 8 ? 3 : used == 11 ? 0 : kRows, normed.data(), HalfType::kF16};
      if (used == 3) next.type = HalfType::kBF16;
      combine_experts(nullptr, device_y.data(), type, pair_of_choice.data(), device_weights.data(), kRows, used, width, again.data(), next);
      ASSERT_EQ(again.download(), sum);
      const std::vector<half_bits> got = normed.download();
      for (std::size_t i = std::size_t{next.rows} * width; i < got.size(); ++i) ASSERT_EQ(got[i], 0xFFFF);
      for (std::size_t r = 0; r < next.rows; ++r) {
        const float* row = sum.data() + r * width;
        double squares = 0;
        for (std::size_t c = 0; c < width; ++c) squares += double{row[c]} * double{row[c]};
        const double scale = 1 / std::sqrt(squares / width + double{kEps}), half_ulp = next.type == HalfType::kF16 ? 0x1p-11 : 0x1p-8;
        for (std::size_t c = 0; c < width; ++c) {
          const double expected = double{row[c]} * scale * double{norm[c]};
          ASSERT_NEAR(from_half(got[r * width + c], next.type), expected, 1.01 * half_ulp * std::abs(expected) + 1e-7)
              << width << ", " << used;
        }
      }
      for (std::size_t r = 0; r < kRows; ++r) {
        for (std::size_t c = 0; c < width; ++c) {
          double expected = double{x[r * width + c]};
          for (std::size_t j = r * used; j < (r + 1) * used; ++j) {
            expected += double{weights[j]} * double{from_half(y[static_cast<std::size_t>(places[j]) * width + c], type)};
          }
          ASSERT_NEAR(sum[r * width + c], expected, 1e-5) << width << ", " << used;
        }
      }
    }
  }
}

}  // namespace
}  // namespace gritstone::cuda
