// Speed of the matmul kernels against what the machine can do, in one run: products per second beside a loop of nothing but vpdpbusd (or
// FMA), and weight bytes per second beside a plain streaming read.
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
#include "model/kernels/target.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

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

Buffer allocate(std::size_t bytes) { return Buffer(bytes); }  // the engine's own: large pages where the system gives them

// Bytes whose every f16 is a small normal number: speed does not depend on values, but NaN and denormals could distort it.
const std::uint8_t* weights() {
  static const Buffer bytes = [] {
    Buffer out = allocate(kWeightBytes);
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

  Buffer x = allocate(shape.tokens * shape.cols * 4), q = allocate(shape.tokens * shape.cols);
  Buffer scale = allocate(shape.tokens * shape.cols / 8 + 64), sum = allocate(shape.tokens * shape.cols / 4 + 64);
  Buffer y = allocate(shape.tokens * shape.rows * 4), scratch = allocate(kMatmulScratch * 4);
  auto* values = reinterpret_cast<float*>(x.data());
  for (std::size_t i = 0; i < shape.tokens * shape.cols; ++i) values[i] = static_cast<float>(i % 17) - 8.0f;
  Activations in{shape.tokens,
                 shape.cols,
                 values,
                 reinterpret_cast<std::int8_t*>(q.data()),
                 reinterpret_cast<float*>(scale.data()),
                 reinterpret_cast<std::int32_t*>(sum.data())};
  kernels.quantize_rows(in, 0, shape.tokens);

  const auto threads = static_cast<std::size_t>(state.threads());
  const auto thread = static_cast<std::size_t>(state.thread_index());
  Matrix w{shape.type, shape.layout, shape.rows, shape.cols, nullptr};
  MatmulTask task;
  task.w = &w;
  task.x = &in;
  task.tokens = shape.tokens;
  task.y = reinterpret_cast<float*>(y.data());
  task.y_stride = shape.rows;
  task.scratch = reinterpret_cast<float*>(scratch.data());
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

#if defined(__x86_64__)
GS_TARGET_BEGIN_AVX512
void peak_vnni(benchmark::State& state) {
  __m512i acc[12];
  for (__m512i& a : acc) a = _mm512_set1_epi32(static_cast<int>(state.iterations()));
  __m512i w = _mm512_set1_epi8(3);
  asm volatile("" : "+v"(w));  // unknown to the compiler
  constexpr int kRounds = 4096;
  for (auto _ : state) {
    for (int i = 0; i < kRounds; ++i) {
#pragma GCC unroll 12
      for (__m512i& a : acc) a = _mm512_dpbusd_epi32(a, w, w);
    }
  }
  alignas(64) int sums[12][16];
  for (int i = 0; i < 12; ++i) _mm512_store_si512(sums[i], acc[i]);
  benchmark::DoNotOptimize(sums);
  benchmark::ClobberMemory();
  state.counters["GMAC/s"] = per_second(state, 64.0 * 12 * kRounds);
}

void peak_fma(benchmark::State& state) {
  __m512 acc[12];
  for (__m512& a : acc) a = _mm512_set1_ps(1.0f);
  __m512 w = _mm512_set1_ps(0.5f);
  asm volatile("" : "+v"(w));
  constexpr int kRounds = 4096;
  for (auto _ : state) {
    for (int i = 0; i < kRounds; ++i) {
#pragma GCC unroll 12
      for (__m512& a : acc) a = _mm512_fmadd_ps(a, w, w);
    }
  }
  alignas(64) float sums[12][16];
  for (int i = 0; i < 12; ++i) _mm512_store_ps(sums[i], acc[i]);
  benchmark::DoNotOptimize(sums);
  benchmark::ClobberMemory();
  state.counters["GMAC/s"] = per_second(state, 16.0 * 12 * kRounds);
}
GS_TARGET_END
#endif

// Reads the weights once per iteration, all threads together.
void peak_read(benchmark::State& state) {
  const std::uint8_t* data = weights();
  const auto threads = static_cast<std::size_t>(state.threads());
  const std::size_t begin = kWeightBytes / threads * static_cast<std::size_t>(state.thread_index()) / 64 * 64;
  const std::size_t end = begin + kWeightBytes / threads / 64 * 64;
  for (auto _ : state) {
    std::uint64_t sums[8] = {};
    for (std::size_t i = begin; i < end; i += 64) {
      std::uint64_t words[8];
      std::memcpy(words, data + i, 64);
      for (int j = 0; j < 8; ++j) sums[j] ^= words[j];
    }
    for (const std::uint64_t s : sums) benchmark::DoNotOptimize(s);
  }
  state.counters["GB/s"] = per_second(state, static_cast<double>(end - begin));
}

void register_all() {
  benchmark::RegisterBenchmark("peak/read", peak_read)->ThreadRange(1, 2)->UseRealTime();
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512vnni")) {
    benchmark::RegisterBenchmark("peak/vnni", peak_vnni)->ThreadRange(1, 2)->UseRealTime();
    benchmark::RegisterBenchmark("peak/fma", peak_fma)->ThreadRange(1, 2)->UseRealTime();
  }
#endif
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
