// The feed-forward for few rows, dense and with experts, against sums in double.
#include <gtest/gtest.h>

#include <numeric>

#include "tests/model/cuda/vec_data.h"

namespace gritstone::cuda {
namespace {

constexpr float kEps = 1e-5f;

struct Case {
  std::uint32_t hidden, ffn, experts, used;  // experts 0: dense
};

class VecExperts : public testing::TestWithParam<std::tuple<VecFormat, Case>> {
 protected:
  void SetUp() override { GS_REQUIRE_DEVICE(); }
};

struct Choice {
  std::vector<double> probabilities, weights;
  std::vector<std::int32_t> chosen;
};

Choice choose(const float* logits, std::size_t experts, std::size_t used, bool normalise) {
  Choice choice;
  const float top = *std::max_element(logits, logits + experts);
  double sum = 0;
  for (std::size_t e = 0; e < experts; ++e) sum += choice.probabilities.emplace_back(std::exp(double{logits[e]} - double{top}));
  for (double& p : choice.probabilities) p /= sum;
  choice.chosen.resize(experts);
  std::iota(choice.chosen.begin(), choice.chosen.end(), 0);
  std::stable_sort(choice.chosen.begin(), choice.chosen.end(), [&](auto a, auto b) { return logits[a] > logits[b]; });
  choice.chosen.resize(used);
  sum = 0;
  for (const std::int32_t e : choice.chosen) sum += choice.weights.emplace_back(choice.probabilities[static_cast<std::size_t>(e)]);
  for (double& w : choice.weights) w /= normalise ? sum : 1;
  return choice;
}

TEST_P(VecExperts, EqualsSums) {
  const auto [format, c] = GetParam();
  const bool integers = format.format == WeightFormat::kInt4 || format.format == WeightFormat::kInt8;
  if (integers && (c.hidden % 32 != 0 || c.ffn % 32 != 0)) GTEST_SKIP() << "integer formats have whole groups";
  std::mt19937 random(c.hidden + c.ffn);
  const std::uint32_t experts = std::max(c.experts, 1u);
  const VecMatrix gate_up(format, experts, 2 * c.ffn, c.hidden, random), down(format, experts, c.hidden, c.ffn, random);
  const std::vector<float> x = random_floats(8 * c.hidden, random), norm = random_floats(c.hidden, random);
  std::vector<float> logits = random_floats(8 * experts, random, 2);
  for (std::size_t i = 0; i < logits.size(); i += 2) logits[i] = std::round(logits[i]);  // ties
  const DeviceArray<float> device_logits(logits), device_norm(norm);
  std::vector<float> first_h, first_x;
  for (const std::uint32_t rows : {1u, 3u, 8u}) {
    const bool with_norm = rows != 3, normalise = rows == 8;
    DeviceArray<float> device_x({x.begin(), x.begin() + rows * c.hidden}), h(rows * c.used * c.ffn), weights(rows * c.used);
    DeviceArray<float> probabilities(rows * experts);
    DeviceArray<std::int32_t> chosen(rows * c.used);
    VecRouting routing;
    if (c.experts > 0) {
      routing.logits = device_logits.data();
      if (rows != 1) routing.probabilities = probabilities.data();
    }
    routing.chosen = chosen.data();
    routing.weights = weights.data();
    routing.used = c.used;
    routing.normalise = normalise;
    vec_experts_gate_up(nullptr, gate_up.matrix(), device_x.data(), with_norm ? device_norm.data() : nullptr, kEps, rows, routing,
                        h.data());
    const std::vector<float> got_h = h.download(), got_weights = weights.download(), got_probabilities = probabilities.download();
    const std::vector<std::int32_t> got_chosen = chosen.download();
    for (std::uint32_t t = 0; t < rows; ++t) {
      const Choice choice = c.experts > 0 ? choose(logits.data() + t * experts, experts, c.used, normalise) : Choice{{1}, {1}, {0}};
      for (std::uint32_t e = 0; routing.probabilities != nullptr && e < experts; ++e) {
        ASSERT_NEAR(got_probabilities[t * experts + e], choice.probabilities[e], 1e-6);
      }
      const std::vector<double> seen = gate_up.seen(normed_row(x, t, c.hidden, with_norm ? norm : std::vector<float>(), double{kEps}));
      for (std::uint32_t j = 0; j < c.used; ++j) {
        ASSERT_EQ(got_chosen[t * c.used + j], choice.chosen[j]);
        ASSERT_NEAR(got_weights[t * c.used + j], choice.weights[j], 1e-6);
        for (std::uint32_t i = 0; i < c.ffn; ++i) {
          const std::size_t expert = static_cast<std::size_t>(choice.chosen[j]);
          const double gate = gate_up.dot(expert, 2 * i, seen), up = gate_up.dot(expert, 2 * i + 1, seen);
          ASSERT_NEAR(got_h[(t * c.used + j) * c.ffn + i], gate / (1 + std::exp(-gate)) * up, 5 * gate_up.tolerance())
              << rows << " rows: " << t << ", " << j << ", " << i;
        }
      }
    }
    vec_experts_down(nullptr, down.matrix(), h.data(), chosen.data(), weights.data(), c.used, rows, device_x.data());
    const std::vector<float> got_x = device_x.download();
    for (std::uint32_t t = 0; t < rows; ++t) {
      std::vector<std::vector<double>> seen;
      for (std::uint32_t j = 0; j < c.used; ++j) seen.push_back(down.seen(normed_row(got_h, t * c.used + j, c.ffn, {}, 0)));
      for (std::uint32_t o = 0; o < c.hidden; ++o) {
        double want = double{x[t * c.hidden + o]};
        for (std::uint32_t j = 0; j < c.used; ++j) {
          want += double{got_weights[t * c.used + j]} * down.dot(static_cast<std::size_t>(got_chosen[t * c.used + j]), o, seen[j]);
        }
        ASSERT_NEAR(got_x[t * c.hidden + o], want, down.tolerance()) << rows << " rows: " << t << ", " << o;
      }
    }
    if (rows == 3) continue;  // without the norm
    if (first_h.empty()) first_h = got_h;
    for (std::size_t i = 0; i < first_h.size(); ++i) EXPECT_EQ(got_h[i], first_h[i]);
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, VecExperts,
                         testing::Combine(testing::ValuesIn(kVecFormats),
                                          testing::Values(Case{64, 32, 8, 3}, Case{96, 64, 64, 8}, Case{32, 2048, 2, 2},
                                                          Case{576, 160, 0, 1}, Case{2048, 96, 5, 1}, Case{40, 24, 256, 32},
                                                          Case{64, 32, 200, 20})));

// Not a number anywhere: some choice without repeats, so that nothing is read beyond the matrix.
TEST(VecExpertsShapes, NotFiniteLogits) {
  GS_REQUIRE_DEVICE();
  std::mt19937 random(3);
  const VecMatrix gate_up({WeightFormat::kBF16, 32}, 8, 64, 64, random);
  const DeviceArray<float> x(random_floats(64, random)), logits(std::vector<float>(8, NAN));
  DeviceArray<float> h(3 * 32), weights(3);
  DeviceArray<std::int32_t> chosen(3);
  VecRouting routing;
  routing.logits = logits.data();
  routing.chosen = chosen.data();
  routing.weights = weights.data();
  routing.used = 3;
  vec_experts_gate_up(nullptr, gate_up.matrix(), x.data(), nullptr, kEps, 1, routing, h.data());
  EXPECT_EQ(chosen.download(), (std::vector<std::int32_t>{0, 1, 2}));
}

}  // namespace
}  // namespace gritstone::cuda
