// Single kernels of the CUDA backend in every form, each beside the others in turns: products of experts and dense ones (TFLOP/s), and
// exact search for few and many queries. Shapes of OLMoE-1B-7B. A form whose results differ from the others' is named.
//
//   cuda_kernels_bench [--rows 4096] [--rounds 20]
#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <functional>
#include <numeric>
#include <string>

#include "base/error.h"
#include "model/kernels/cuda/blas.h"
#include "model/kernels/cuda/gemm_variants.h"
#include "model/kernels/cuda/ops.h"
#include "tests/bench/cuda_timing.h"

namespace gritstone::bench {
namespace {

using cuda::half_bits;

struct Form {
  std::string name;
  std::function<void()> run;
};

// The forms in turns, so that a change of the clock meets all of them.
void compare(const std::string& what, double flops, std::size_t rounds, const std::vector<Form>& forms) {
  constexpr std::size_t kInARow = 5;
  std::vector<std::vector<double>> times(forms.size());
  for (std::size_t round = 0; round < rounds; ++round) {
    for (std::size_t i = 0; i < forms.size(); ++i) {
      times[i].push_back(device_ms(1,
                                   [&] {
                                     for (std::size_t j = 0; j < kInARow; ++j) forms[i].run();
                                   }) /
                         kInARow);
    }
  }
  for (std::size_t i = 0; i < forms.size(); ++i) {
    const double ms = median(times[i]);
    std::printf("| %s, %s | %.3f ms |", what.c_str(), forms[i].name.c_str(), ms);
    if (flops > 0) std::printf(" %.0f TFLOP/s", flops / ms / 1e9);
    std::printf(" |\n");
  }
  std::fflush(stdout);
}

std::vector<std::uint16_t> download(const DeviceBuffer& buffer, std::size_t bytes) {
  std::vector<std::uint16_t> host(bytes / 2);
  check(cudaMemcpy(host.data(), buffer.data(), bytes, cudaMemcpyDeviceToHost), "download");
  return host;
}

// Distance of two results of bf16 values, relative to their size.
void expect_same(const std::string& what, const std::vector<std::uint16_t>& a, const std::vector<std::uint16_t>& b, bool f32) {
  double difference = 0, size = 0;
  const auto value = [&](const std::vector<std::uint16_t>& x, std::size_t i) {
    if (!f32) return static_cast<double>(bf16_to_f32(x[i]));
    float y = 0;
    std::memcpy(&y, x.data() + 2 * i, sizeof(y));
    return static_cast<double>(y);
  };
  for (std::size_t i = 0; i < a.size() / (f32 ? 2 : 1); ++i) {
    difference += std::pow(value(a, i) - value(b, i), 2);
    size += std::pow(value(a, i), 2);
  }
  const double distance = std::sqrt(difference / size);
  if (!(distance < 4e-3)) std::printf("| %s | DIFFERS | distance %.3g |\n", what.c_str(), distance);
}

constexpr std::uint32_t kExperts = 64, kUsed = 8, kHidden = 2048, kFfn = 1024;

// Pairs by expert, the r-th most popular with weight r^-0.6.
struct Routing {
  explicit Routing(std::uint32_t rows) : offsets(kExperts + 1), row_of_pair(std::size_t{rows} * kUsed) {
    std::vector<double> popularity;
    for (std::uint32_t e = 0; e < kExperts; ++e) popularity.push_back(std::pow((e * 29 % kExperts) + 1, -0.6));
    std::mt19937 random(5);
    std::vector<std::vector<std::int32_t>> of_expert(kExperts);
    for (std::uint32_t r = 0; r < rows; ++r) {
      std::vector<double> left = popularity;
      for (std::uint32_t j = 0; j < kUsed; ++j) {
        const auto e = static_cast<std::size_t>(std::discrete_distribution<int>(left.begin(), left.end())(random));
        of_expert[e].push_back(static_cast<std::int32_t>(r));
        left[e] = 0;
      }
    }
    std::vector<std::int32_t> begin{0}, all;
    for (const auto& mine : of_expert) {
      all.insert(all.end(), mine.begin(), mine.end());
      begin.push_back(static_cast<std::int32_t>(all.size()));
    }
    offsets = DeviceBuffer(begin.size() * 4);
    row_of_pair = DeviceBuffer(all.size() * 4);
    tickets = DeviceBuffer(cuda::kTickets * 4);
    check(cudaMemcpy(offsets.data(), begin.data(), begin.size() * 4, cudaMemcpyHostToDevice), "upload");
    check(cudaMemcpy(row_of_pair.data(), all.data(), all.size() * 4, cudaMemcpyHostToDevice), "upload");
    pairs = static_cast<std::uint32_t>(all.size());
  }
  cuda::ExpertPairs view() const {
    check(cudaMemsetAsync(tickets.data(), 0, cuda::kTickets * 4, nullptr), "tickets");
    return {pairs, offsets.as<std::int32_t>(), row_of_pair.as<std::int32_t>(), nullptr, tickets.as<std::uint32_t>()};
  }
  DeviceBuffer offsets, row_of_pair, tickets;
  std::uint32_t pairs = 0;
};

cuda::DeviceMatrix matrix(const DeviceBuffer& values, std::uint32_t experts, std::uint32_t rows, std::uint32_t cols) {
  cuda::DeviceMatrix w;
  w.experts = experts;
  w.rows = rows;
  w.cols = cols;
  w.values = values.data();
  return w;
}

bool worth_measuring(int variant) { return variant >= cuda::kWarpgroupVariant && cuda::has_gemm_variant(variant, cuda::WeightFormat::kBF16); }

void experts(std::uint32_t rows, std::size_t rounds) {
  const Routing routing(rows);
  const std::size_t pairs = routing.pairs;
  const DeviceBuffer up = random_halves(std::size_t{kExperts} * 2 * kFfn * kHidden, true);
  const DeviceBuffer down = random_halves(std::size_t{kExperts} * kFfn * kHidden, true),
                     x = random_halves(std::size_t{rows} * kHidden, true);
  const DeviceBuffer h = random_halves(pairs * kFfn, true), y(pairs * kHidden * 2);
  const auto gate_up = matrix(up, kExperts, 2 * kFfn, kHidden), w_down = matrix(down, kExperts, kHidden, kFfn);
  std::vector<Form> forms[2];
  std::vector<std::uint16_t> first[2];
  for (int variant = 0; variant < cuda::kGemmVariants; ++variant) {
    if (!worth_measuring(variant)) continue;
    const std::string name = "form " + std::to_string(variant);
    const std::function<void()> runs[2] = {
        [&, variant] {
          cuda::experts_gate_up_variant(nullptr, variant, gate_up, x.as<half_bits>(), routing.view(), y.as<half_bits>(),
                                        cuda::HalfType::kBF16);
        },
        [&, variant] { cuda::experts_down_variant(nullptr, variant, w_down, h.as<half_bits>(), routing.view(), y.as<half_bits>()); }};
    for (int i = 0; i < 2; ++i) {
      forms[i].push_back({name, runs[i]});
      runs[i]();
      std::vector<std::uint16_t> result = download(y, pairs * (i == 0 ? kFfn : kHidden) * 2);
      if (first[i].empty())
        first[i] = std::move(result);
      else
        expect_same((i == 0 ? "gate and up, " : "down, ") + name, first[i], result, false);
    }
  }
  const double flops = 2.0 * static_cast<double>(pairs) * kHidden * kFfn;
  compare("experts, gate and up", 2 * flops, rounds, forms[0]);
  compare("experts, down", flops, rounds, forms[1]);
}

void dense(std::uint32_t rows, std::size_t rounds) {
  cuda::Blas blas(nullptr);
  const DeviceBuffer x = random_halves(std::size_t{rows} * kHidden, true);
  for (const std::uint32_t outputs : {kHidden, 3 * kHidden}) {
    const DeviceBuffer values = random_halves(std::size_t{outputs} * kHidden, true), y(std::size_t{rows} * outputs * 4);
    const auto w = matrix(values, 1, outputs, kHidden);
    std::vector<Form> forms{{"cuBLAS", [&] { blas.linear(w, x.as<half_bits>(), rows, y.as<float>(), false); }}};
    forms[0].run();
    const std::vector<std::uint16_t> first = download(y, std::size_t{rows} * outputs * 4);
    for (int variant = 0; variant < cuda::kGemmVariants; ++variant) {
      if (!worth_measuring(variant)) continue;
      forms.push_back({"form " + std::to_string(variant),
                       [&, variant] { cuda::gemm_variant(nullptr, variant, w, x.as<half_bits>(), rows, y.as<float>(), false); }});
      forms.back().run();
      expect_same("dense, " + forms.back().name, first, download(y, std::size_t{rows} * outputs * 4), true);
    }
    compare("dense, " + std::to_string(outputs) + " outputs", 2.0 * rows * outputs * kHidden, rounds, forms);
  }
}

}  // namespace
}  // namespace gritstone::bench

int main(int argc, char** argv) {
  std::uint32_t rows = 4096;
  std::size_t rounds = 20;
  CLI::App app("Single kernels of the CUDA backend, every form in turns");
  app.add_option("--rows", rows, "Rows of the activations");
  app.add_option("--rounds", rounds);
  CLI11_PARSE(app, argc, argv);
  try {
    std::printf("| kernel | measured | |\n| --- | --- | --- |\n");
    gritstone::bench::experts(rows, rounds);
    gritstone::bench::dense(rows, rounds);
  } catch (const gritstone::Error& error) {
    std::fprintf(stderr, "cuda_kernels_bench: %s\n", error.what());
    return gritstone::exit_code(error.code());
  }
  return 0;
}
