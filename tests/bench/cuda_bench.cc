// The CUDA backend's speed on one GPU beside the limits of the same GPU, measured in the same run: memory bandwidth (a device-to-device
// copy, bytes read and written) and bf16 matrix products (cuBLAS, 8192^3).
//
//   cuda_bench MODEL.gguf [--synth bf16|q4_k] [--rounds 5] [--skip-search]
//
// Prints Markdown rows. Random weights show speed, never quality.
#include <cuda_runtime.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "model/affine_blocks.h"
#include "model/engine.h"
#include "model/kernels/cuda/blas.h"
#include "model/kernels/cuda/device.h"
#include "model/kernels/cuda/ops.h"
#include "model/model_file.h"
#include "model/synth.h"
#include "tests/bench/cuda_timing.h"

namespace gritstone {
namespace {

using bench::device_ms;
using bench::median;
using bench::random_halves;
using cuda::check;
using cuda::DeviceBuffer;
using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

constexpr std::chrono::milliseconds kRest(50);

struct Limits {
  double bytes_per_second = 0;
  double flops = 0;
};

Limits measure_limits() {
  Limits limits;
  {
    constexpr std::size_t kBytes = std::size_t{4} << 30;
    const DeviceBuffer from(kBytes), to(kBytes);
    check(cudaMemset(from.data(), 1, kBytes), "fill");
    const double ms =
        device_ms(9, [&] { check(cudaMemcpyAsync(to.data(), from.data(), kBytes, cudaMemcpyDeviceToDevice, nullptr), "copy"); });
    limits.bytes_per_second = 2.0 * kBytes / (ms * 1e-3);
  }
  constexpr std::size_t kN = 8192;
  const DeviceBuffer a = random_halves(kN * kN, true), b = random_halves(kN * kN, true), c(kN * kN * 4);
  cuda::Blas blas(nullptr);
  cuda::DeviceMatrix w;
  w.rows = w.cols = kN;
  w.values = a.data();
  // Half a second of them: under sustained load the clock is lower than in the first milliseconds, as it is for a model.
  const double ms = device_ms(200, [&] { blas.linear(w, b.as<cuda::half_bits>(), kN, c.as<float>(), false); });
  limits.flops = 2.0 * kN * kN * kN / (ms * 1e-3);
  std::printf("| limit: memory, read + written | %.0f GB/s | |\n| limit: bf16 products | %.0f TFLOP/s | |\n", limits.bytes_per_second / 1e9,
              limits.flops / 1e12);
  return limits;
}

class Bench {
 public:
  Bench(const std::string& model, std::size_t rounds, const Limits& limits)
      : file_(ModelFile::open(model)), rounds_(rounds), limits_(limits) {
    const auto start = Clock::now();
    EngineOptions options;
    options.device = Device::kCuda;
    options.max_batch_tokens = 4096;
    options.kv_slots = 32768;
    engine_ = Engine::create(*file_, options);
    std::printf("| load | %.1f s | %s |\n", seconds_since(start), engine_->numerics_id().c_str());
    const ModelConfig& c = file_->config();
    const double kept = static_cast<double>(c.experts > 0 ? c.experts_used : 1);
    const double matrix =
        static_cast<double>(c.hidden * (2 * c.q_width() + 2 * c.kv_width())) + kept * 3.0 * static_cast<double>(c.hidden * c.ffn);
    layer_flops_ = 2 * matrix * static_cast<double>(c.layers);
  }

  // Bytes of weights that one token reads.
  double active_bytes() const {
    const ModelConfig& c = file_->config();
    const auto bytes = [&](const std::string& name, double share) {
      const TensorRef* tensor = file_->find(name);
      if (tensor == nullptr) return 0.0;
      std::size_t elements = 1;
      for (const std::size_t n : tensor->shape) elements *= n;
      const auto affine = affine_format(tensor->type);
      const double each = affine ? affine->bits / 8.0 + 4.0 / static_cast<double>(affine->group) : 2.0;
      return static_cast<double>(elements) * each * share;
    };
    const double kept = c.experts > 0 ? static_cast<double>(c.experts_used) / static_cast<double>(c.experts) : 1.0;
    double total = bytes(file_->find("output.weight") != nullptr ? "output.weight" : "token_embd.weight", 1);
    for (std::size_t i = 0; i < c.layers; ++i) {
      const std::string p = "blk." + std::to_string(i) + ".", s = c.experts > 0 ? "_exps.weight" : ".weight";
      for (const char* name : {"attn_q.weight", "attn_k.weight", "attn_v.weight", "attn_output.weight"}) total += bytes(p + name, 1);
      for (const char* name : {"ffn_gate", "ffn_up", "ffn_down"}) total += bytes(p + name + s, kept);
      total += 2 * bytes(p + "ffn_gate_inp.weight", 1);  // f32
    }
    return total;
  }

  void decode(std::size_t batch, std::size_t prompt, std::size_t steps) {
    std::vector<double> per_step;
    for (std::size_t round = 0; round < rounds_; ++round) {
      std::vector<std::future<JobOutput>> running;
      std::vector<Clock::time_point> ends;
      for (std::size_t b = 0; b < batch; ++b) {
        Job job;
        job.tokens = tokens(prompt);
        job.wants.logits = Wants::Logits::kLast;
        job.wants.top_logits = 1;  // as a greedy answer does it (generator/generate.cc)
        job.max_slots = prompt + steps + 1;
        auto left = std::make_shared<std::size_t>(steps);
        const bool first = b == 0;
        job.next = [this, left, first, &ends](const JobOutput& output) -> std::optional<NextTokens> {
          if (first) ends.push_back(Clock::now());
          if ((*left)-- == 0) return std::nullopt;
          // Greedy, so that the choice of the token is part of what is measured.
          return NextTokens{{output.top.at(0).id}, std::nullopt, Wants::Logits::kLast, 1};
        };
        running.push_back(engine_->submit(std::move(job)));
      }
      for (auto& future : running) future.get();
      // Without the first steps: prompts of a batch enter one after the other, and a graph is captured.
      const std::size_t skip = std::min<std::size_t>(8, ends.size() / 2);
      per_step.push_back(std::chrono::duration<double>(ends.back() - ends[skip]).count() / static_cast<double>(ends.size() - 1 - skip));
    }
    const double ms = median(per_step) * 1e3;
    std::printf("| decode, batch %zu, context %zu | %.3f ms a step, %.0f tokens/s |", batch, prompt, ms,
                static_cast<double>(batch) / ms * 1e3);
    if (batch == 1) {
      const double limit = active_bytes() / limits_.bytes_per_second * 1e3;
      std::printf(" %.2f GB active, %.3f ms at full bandwidth: %.0f %% |\n", active_bytes() / 1e9, limit, 100 * limit / ms);
    } else {
      std::printf(" |\n");
    }
    std::fflush(stdout);
  }

  // rest: before each prompt. Prompts without a rest make the GPU lower its clock after a tenth of a second.
  void prefill(std::size_t count, std::chrono::milliseconds rest) {
    std::vector<double> times;
    for (std::size_t round = 0; round <= rounds_; ++round) {
      Job job;
      job.tokens = tokens(count);
      job.wants.logits = Wants::Logits::kLast;
      job.wants.top_logits = 1;  // as a greedy answer does it
      std::this_thread::sleep_for(rest);
      const auto start = Clock::now();
      engine_->run(std::move(job));
      if (round > 0) times.push_back(seconds_since(start));
    }
    const ModelConfig& c = file_->config();
    const double n = static_cast<double>(count);
    // Causal attention: two products over half of all pairs. Of the last layer only K and V (and q) are needed, but for one row.
    const double layers = static_cast<double>(c.layers);
    const double last = 2.0 * static_cast<double>(c.hidden * (c.q_width() + 2 * c.kv_width()));
    const double flops = (layer_flops_ * (layers - 1) / layers + last) * n + 2.0 * n * n * static_cast<double>(c.q_width()) * (layers - 1);
    std::printf("| prefill, %zu tokens, %s | %.2f ms, %.0f tokens/s | %.0f TFLOP/s: %.0f %% of the products' limit |\n", count,
                rest.count() > 0 ? "after a rest" : "one after another", median(times) * 1e3, n / median(times),
                flops / median(times) / 1e12, 100 * flops / median(times) / limits_.flops);
    std::fflush(stdout);
  }

  void embed(std::size_t chunks, std::size_t length, Attention attention) {
    std::vector<double> times;
    for (std::size_t round = 0; round < rounds_; ++round) {
      const auto start = Clock::now();
      std::vector<std::future<JobOutput>> running;
      for (std::size_t i = 0; i < chunks; ++i) {
        Job job;
        job.tokens = tokens(length);
        job.attention = attention;
        job.wants.normed_after = file_->config().layers;
        job.wants.pool = Wants::Pool{0, length, attention == Attention::kCausal};
        job.priority = Priority::kBulk;
        running.push_back(engine_->submit(std::move(job)));
      }
      for (auto& future : running) future.get();
      times.push_back(seconds_since(start));
    }
    const double count = static_cast<double>(chunks * length);
    std::printf("| embedding, %zu chunks of %zu, %s | %.0f tokens/s | %.0f TFLOP/s |\n", chunks, length,
                attention == Attention::kCausal ? "causal" : "bidirectional", count / median(times),
                layer_flops_ * count / median(times) / 1e12);
    std::fflush(stdout);
  }

 private:
  std::vector<TokenId> tokens(std::size_t count) {
    std::vector<TokenId> ids(count);
    for (TokenId& id : ids) id = static_cast<TokenId>(100 + random_() % (file_->config().vocab - 200));
    return ids;
  }

  std::unique_ptr<ModelFile> file_;
  const std::size_t rounds_;
  const Limits limits_;
  std::unique_ptr<Engine> engine_;
  double layer_flops_ = 0;  // of the layers' matrices, a token
  std::mt19937_64 random_{1};
};

void search(std::size_t rounds, const Limits& limits) {
  constexpr std::size_t kVectors = 1'000'000;
  constexpr std::uint32_t kDim = 2048, kTop = 10;
  const DeviceBuffer vectors = random_halves(kVectors * kDim, false), queries = random_halves(64 * kDim, false);
  cuda::Blas blas(nullptr);
  for (const std::uint32_t batch : {1u, 8u, 64u}) {
    const DeviceBuffer workspace(cuda::flat_search_workspace(kVectors, batch, kTop)), ids(batch * kTop * 8), scores(batch * kTop * 4);
    const double ms = device_ms(rounds, [&] {
      cuda::flat_search(nullptr, blas, vectors.as<__half>(), kVectors, kDim, queries.as<__half>(), batch, kTop, workspace.data(),
                        ids.as<std::int64_t>(), scores.as<float>());
    });
    const double limit = 2.0 * kVectors * kDim / limits.bytes_per_second * 1e3;
    std::printf("| search, 1,000,000 x 2048 f16, batch %u | %.2f ms, %.3f ms a query | vectors read once: %.2f ms, %.0f %% |\n", batch, ms,
                ms / batch, limit, 100 * limit / ms);
  }
}

// What finding the largest logits adds to a step of decoding.
void top_logits(std::size_t rounds) {
  constexpr std::uint32_t kVocab = 50304;
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 3);
  std::vector<float> values(64 * kVocab);
  for (float& value : values) value = normal(random);
  const DeviceBuffer logits(values.size() * sizeof(float)), workspace(cuda::top_logits_workspace(64, kVocab, kMaxTopLogits));
  check(cudaMemcpy(logits.data(), values.data(), logits.bytes(), cudaMemcpyHostToDevice), "upload");
  const cuda::PinnedBuffer top(64 * kMaxTopLogits * sizeof(TopLogit));
  for (const std::uint32_t k : {16u, 128u, 256u}) {
    for (const std::uint32_t batch : {1u, 8u, 64u}) {
      // Many in a row: their launches overlap, as those of a step do.
      constexpr int kInARow = 50;
      const double ms = device_ms(rounds, [&] {
        for (int i = 0; i < kInARow; ++i) {
          cuda::top_logits(nullptr, logits.as<float>(), batch, kVocab, k, workspace.data(), top.as<TopLogit>());
        }
      });
      std::printf("| the %u largest of 50,304 logits, batch %u | %.1f us | |\n", k, batch, ms * 1e3 / kInARow);
    }
  }
}

}  // namespace
}  // namespace gritstone

int main(int argc, char** argv) {
  std::string model;
  std::size_t rounds = 5;
  bool skip_search = false;
  std::string synth, only;
  std::size_t steps = 16;
  CLI::App app("Speed of the CUDA backend beside its limits");
  app.add_option("MODEL", model)->required();
  app.add_option("--rounds", rounds);
  app.add_flag("--skip-search", skip_search);
  app.add_option("--only", only, "For a profiler: decode (--steps steps) or prefill (--steps tokens)")
      ->check(CLI::IsMember({"decode", "prefill"}));
  app.add_option("--steps", steps);
  app.add_option("--synth", synth, "Make MODEL first, if it is not there: a synthetic OLMoE-1B-7B of this type");
  CLI11_PARSE(app, argc, argv);
  try {
    using namespace gritstone;
    if (!synth.empty() && !std::filesystem::exists(model)) {
      SynthOptions options;
      options.type = dtype_from_name(synth).value();
      options.routing = SynthRouting::kZipf;
      options.output = model;
      synthesize_model(options);
    }
    std::printf("| what | measured | against the limit |\n| --- | --- | --- |\n");
    const Limits limits = measure_limits();
    {
      Bench bench(model, rounds, limits);
      if (!only.empty()) {
        if (only == "decode") bench.decode(1, 64, steps);
        if (only == "prefill") bench.prefill(steps, {});
        return 0;
      }
      bench.decode(1, 64, 128);
      bench.decode(1, 1300, 64);
      bench.decode(8, 64, 64);
      bench.decode(64, 64, 64);
      for (const std::size_t count : {32, 512, 1312, 4096}) bench.prefill(count, kRest);
      bench.prefill(4096, {});
      bench.embed(64, 512, Attention::kBidirectional);
      bench.embed(64, 512, Attention::kCausal);
    }
    top_logits(rounds);
    if (!skip_search) search(rounds, limits);
  } catch (const gritstone::Error& error) {
    std::fprintf(stderr, "cuda_bench: %s\n", error.what());
    return gritstone::exit_code(error.code());
  }
  return 0;
}
