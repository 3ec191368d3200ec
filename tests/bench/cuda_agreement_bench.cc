// Teacher-forced agreement of the CUDA backend with the CPU's f32: over real text, does every clear choice of the next token stay the same?
//
//   cuda_agreement_bench MODEL TEXT [--tokens 20000] [--margin 0.1]
//
// The text is cut into windows of 512 tokens. A choice is clear if the CPU's best token leads by more than the margin (nat). Prints counts
// the mean KL divergence and the clear choices that differ; exit status 1 if a clear choice differs.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "base/checked_file.h"
#include "base/error.h"
#include "model/engine.h"
#include "model/model_file.h"

namespace gritstone {
namespace {

constexpr std::size_t kWindow = 512;

struct Choice {
  std::size_t best = 0;
  float lead = 0;
  std::vector<double> log_probabilities;
};

Choice choose(const float* logits, std::size_t vocab) {
  Choice choice;
  choice.best = static_cast<std::size_t>(std::max_element(logits, logits + vocab) - logits);
  float second = -INFINITY;
  double sum = 0;
  for (std::size_t i = 0; i < vocab; ++i) {
    if (i != choice.best) second = std::max(second, logits[i]);
    sum += std::exp(static_cast<double>(logits[i] - logits[choice.best]));
  }
  choice.lead = logits[choice.best] - second;
  const double shift = static_cast<double>(logits[choice.best]) + std::log(sum);
  choice.log_probabilities.resize(vocab);
  for (std::size_t i = 0; i < vocab; ++i) choice.log_probabilities[i] = static_cast<double>(logits[i]) - shift;
  return choice;
}

int run(const std::string& model, const std::string& text, std::size_t limit, float margin) {
  const auto file = ModelFile::open(model);
  const auto tokenizer = file->tokenizer();
  std::vector<TokenId> ids = tokenizer->encode(read_file(text, std::uint64_t{1} << 26));
  ids.resize(std::min(ids.size(), limit));
  EngineOptions options;
  options.compute = ComputeMode::kF32;
  options.kv_type = KvType::kF32;
  options.kv_slots = 1024;
  const auto cpu = Engine::create(*file, options);
  options = EngineOptions{};
  options.device = Device::kCuda;
  options.kv_slots = 4096;
  const auto cuda = Engine::create(*file, options);
  const std::size_t vocab = file->config().vocab;
  std::size_t compared = 0, equal = 0, clear = 0, clear_equal = 0;
  double divergence = 0;
  for (std::size_t begin = 0; begin < ids.size(); begin += kWindow) {
    Job job;
    job.tokens.assign(ids.begin() + static_cast<std::ptrdiff_t>(begin),
                      ids.begin() + static_cast<std::ptrdiff_t>(std::min(ids.size(), begin + kWindow)));
    job.wants.logits = Wants::Logits::kAll;
    const JobOutput want = cpu->run(job), got = cuda->run(job);
    for (std::size_t t = 0; t < job.tokens.size(); ++t) {
      const Choice a = choose(want.logits.data() + t * vocab, vocab), b = choose(got.logits.data() + t * vocab, vocab);
      ++compared;
      equal += a.best == b.best;
      clear += a.lead > margin;
      clear_equal += a.lead > margin && a.best == b.best;
      if (a.lead > margin && a.best != b.best) {
        std::printf("differs at %zu: the CPU's best leads by %.3f nat, the other's by %.3f\n", begin + t, static_cast<double>(a.lead),
                    static_cast<double>(b.lead));
      }
      for (std::size_t i = 0; i < vocab; ++i) {
        divergence += std::exp(a.log_probabilities[i]) * (a.log_probabilities[i] - b.log_probabilities[i]);
      }
    }
  }
  std::printf("%zu tokens, %s against %s: same best token %zu (%.3f %%); of %zu with a lead above %.2f nat, %zu; mean KL %.2e nat\n",
              compared, cuda->numerics_id().c_str(), cpu->numerics_id().c_str(), equal,
              100.0 * static_cast<double>(equal) / static_cast<double>(compared), clear, static_cast<double>(margin), clear_equal,
              divergence / static_cast<double>(compared));
  return clear == clear_equal ? 0 : 1;
}

}  // namespace
}  // namespace gritstone

int main(int argc, char** argv) {
  std::string model, text;
  std::size_t tokens = 20000;
  float margin = 0.1f;
  CLI::App app("Teacher-forced agreement of the CUDA backend with the CPU");
  app.add_option("MODEL", model)->required();
  app.add_option("TEXT", text)->required();
  app.add_option("--tokens", tokens);
  app.add_option("--margin", margin);
  CLI11_PARSE(app, argc, argv);
  try {
    return gritstone::run(model, text, tokens, margin);
  } catch (const gritstone::Error& error) {
    std::fprintf(stderr, "cuda_agreement_bench: %s\n", error.what());
    return gritstone::exit_code(error.code());
  }
}
