// Speed of the matmul kernels against what the machine can do, in one run: products per second beside a loop of nothing but multiply-adds,
// and weight bytes per second beside a plain streaming read.
//
//   ./matmul_bench --benchmark_repetitions=5 --benchmark_enable_random_interleaving=true
//
// Names: matmul/<isa>/<type>/<layout>/<rows>x<cols>/t<tokens>/threads:N. Each thread multiplies its own half of the panels, as the engine's
// threads do. Weights rotate through 256 MiB, more than any L3 of a small machine, so that every call reads them from memory.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "model/buffer.h"
#include "model/kernels/matmul.h"
#include "model/kernels/peak.h"

namespace gritstone {
namespace {

struct Isa {
  const char* name;
  const MatmulKernels* kernels;
  bool present;
};

std::vector<Isa> isas() {
  std::vector<Isa> out;
#if defined(__x86_64__)
  out.push_back({"avx512", &matmul_avx512(), __builtin_cpu_supports("avx512vnni") != 0});
  out.push_back({"avx2", &matmul_avx2(), __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")});
#endif
  out.push_back({"scalar", &matmul_scalar(), true});
  return out;
}

constexpr std::size_t kWeightBytes = 256u << 20;

// In the engine's own kind of memory (large pages where the system gives them). Bytes whose every f16 is a small normal number: speed does
// not depend on values, but NaN and denormals could distort it.
const std::uint8_t* weights() {
  static const Buffer bytes = [] {
    Buffer out(kWeightBytes);
    std::mt19937 random(1);
    for (std::size_t i = 0; i < kWeightBytes; i += 4) {
      const std::uint32_t word = (static_cast<std::uint32_t>(random()) & 0x03FF03FFu) | 0x24002400u;
      std::memcpy(out.data() + i, &word, 4);
    }
    return out;
  }();
  return bytes.data();
}

// Units of 10^9 a second over all threads, from what this thread does in an iteration. Not kIsIterationInvariantRate: it multiplies the sum
// over threads by the iterations of all threads.
benchmark::Counter per_second(const benchmark::State& state, double amount) {
  return benchmark::Counter(amount * 1e-9 * static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
}

struct Shape {
  DType type;
  MatrixLayout layout;
  std::size_t rows, cols, tokens;
};

void run_matmul(benchmark::State& state, const MatmulKernels& kernels, const Shape& shape) {
  const std::size_t panels = shape.rows / kPanelRows;
  const std::size_t bytes =
      shape.layout == MatrixLayout::kPanels ? panels * panel_bytes(shape.type, shape.cols) : shape.rows * row_bytes(shape.type, shape.cols);
  const std::size_t copies = std::max<std::size_t>(1, kWeightBytes / bytes);
  const std::uint8_t* data = weights();

  const Buffer x(shape.tokens * shape.cols * 4), q(shape.tokens * shape.cols);
  const Buffer scale(shape.tokens * shape.cols / 8 + 64), sum(shape.tokens * shape.cols / 4 + 64);
  const Buffer y(shape.tokens * shape.rows * 4), scratch(kMatmulScratch * 4);
  float* const values = x.floats();
  for (std::size_t i = 0; i < shape.tokens * shape.cols; ++i) values[i] = static_cast<float>(i % 17) - 8.0f;
  Activations in{shape.tokens,   shape.cols,
                 values,         reinterpret_cast<std::int8_t*>(q.data()),
                 scale.floats(), reinterpret_cast<std::int32_t*>(sum.data())};
  kernels.quantize_rows(in, 0, shape.tokens);

  const auto threads = static_cast<std::size_t>(state.threads());
  const auto thread = static_cast<std::size_t>(state.thread_index());
  Matrix w{shape.type, shape.layout, shape.rows, shape.cols, nullptr};
  MatmulTask task;
  task.w = &w;
  task.x = &in;
  task.tokens = shape.tokens;
  task.y = y.floats();
  task.y_stride = shape.rows;
  task.scratch = scratch.floats();
  task.panel_begin = panels * thread / threads;
  task.panel_end = panels * (thread + 1) / threads;
  std::size_t copy = 0;
  for (auto _ : state) {
    w.data = data + copy * bytes;
    kernels.matmul(task);
    benchmark::ClobberMemory();
    if (++copy == copies) copy = 0;
  }
  const double share = 1.0 / static_cast<double>(threads);
  state.counters["GMAC/s"] = per_second(state, share * static_cast<double>(shape.rows * shape.cols * shape.tokens));
  state.counters["GB/s"] = per_second(state, share * static_cast<double>(bytes));
}

void peak_products(benchmark::State& state, const char* isa, PeakKind kind) {
  std::uint64_t products = 0;
  for (auto _ : state) products += run_peak(isa, kind, 4096);
  state.counters["GMAC/s"] = benchmark::Counter(static_cast<double>(products) * 1e-9, benchmark::Counter::kIsRate);
}

// Brings every cache line of the weights in once per iteration, all threads together. A word of each is enough: with all of them the loop
// itself would be slower than one core's memory.
void peak_read(benchmark::State& state) {
  constexpr std::size_t kLine = 64, kStep = 8 * kLine;
  const std::uint8_t* data = weights();
  const auto threads = static_cast<std::size_t>(state.threads());
  const std::size_t begin = kWeightBytes / threads * static_cast<std::size_t>(state.thread_index()) / kStep * kStep;
  const std::size_t end = begin + kWeightBytes / threads / kStep * kStep;
  for (auto _ : state) {
    std::uint64_t sums[8] = {};
    for (std::size_t i = begin; i < end; i += kStep) {
      for (std::size_t j = 0; j < 8; ++j) {
        std::uint64_t word;
        std::memcpy(&word, data + i + j * kLine, sizeof word);
        sums[j] ^= word;
      }
    }
    for (const std::uint64_t s : sums) benchmark::DoNotOptimize(s);
  }
  state.counters["GB/s"] = per_second(state, static_cast<double>(end - begin));
}

void register_all() {
  benchmark::RegisterBenchmark("peak/read", peak_read)->ThreadRange(1, 2)->UseRealTime();
  for (const Isa& isa : isas()) {
    if (!isa.present) continue;
    for (const auto& [name, kind] : {std::pair{"int8", PeakKind::kInt8}, std::pair{"f32", PeakKind::kF32}}) {
      const auto run = [isa, kind](benchmark::State& state) { peak_products(state, isa.name, kind); };
      benchmark::RegisterBenchmark((std::string("peak/") + isa.name + "/" + name).c_str(), run)->ThreadRange(1, 2)->UseRealTime();
    }
  }
  const std::pair<DType, MatrixLayout> types[] = {
      {DType::kQ4_K, MatrixLayout::kPanels}, {DType::kQ8_0, MatrixLayout::kPanels}, {DType::kQ4_0, MatrixLayout::kPanels},
      {DType::kQ4_1, MatrixLayout::kPanels}, {DType::kQ5_K, MatrixLayout::kPanels}, {DType::kQ6_K, MatrixLayout::kPanels},
      {DType::kF16, MatrixLayout::kRows},    {DType::kBF16, MatrixLayout::kRows},   {DType::kF32, MatrixLayout::kRows}};
  for (const Isa& isa : isas()) {
    if (!isa.present) continue;
    for (const auto& [type, layout] : types) {
      for (const std::size_t tokens : {1u, 4u, 8u, 64u, 512u}) {
        const Shape shape{type, layout, 1024, 2048, tokens};
        const std::string name = std::string("matmul/") + isa.name + "/" + std::string(traits(type).name) +
                                 (layout == MatrixLayout::kPanels ? "/panels/" : "/rows/") + "1024x2048/t" + std::to_string(tokens);
        benchmark::RegisterBenchmark(name.c_str(),
                                     [&kernels = *isa.kernels, shape](benchmark::State& state) { run_matmul(state, kernels, shape); })
            ->ThreadRange(1, 2)
            ->UseRealTime();
      }
    }
  }
}

}  // namespace
}  // namespace gritstone

int main(int argc, char** argv) {
  gritstone::register_all();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
