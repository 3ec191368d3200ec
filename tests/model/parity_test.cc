// The engine against Hugging Face transformers: the goldens of tests/reference/make_parity_goldens.py, on every instruction set here.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>
#include <string>
#include <vector>

#include "model/engine.h"
#include "model/kernels/kernel_table.h"
#include "tests/model/golden_tensors.h"

namespace gritstone {
namespace {

using Goldens = std::map<std::string, GoldenTensor>;

// Of the largest magnitude in the tensor. f32 implementations that sum in another order differ by about 1e-6 here.
constexpr double kTolerance = 1e-4;

constexpr const char* kConfigs[] = {"olmoe_plain_bf16",   "olmoe_grouped_norm_sharded", "olmoe_clip_tied_f32",
                                    "olmoe_old_rope_f16", "llama_tied_new_rope",        "mistral_old_rope"};

std::filesystem::path golden_path(const std::string& name) {
  return std::filesystem::path(GRITSTONE_SOURCE_DIR) / "tests/golden/parity" / name;
}

// max |got - want| / max |want|, infinite if the sizes differ or something is not a number.
double relative_error(const std::vector<float>& got, const std::vector<float>& want) {
  if (got.size() != want.size()) return INFINITY;
  double difference = 0, magnitude = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (!std::isfinite(got[i])) return INFINITY;
    difference = std::max(difference, std::abs(double{got[i]} - want[i]));
    magnitude = std::max(magnitude, std::abs(double{want[i]}));
  }
  return difference / magnitude;
}

// The k largest of each row, in falling order: what torch.topk gives.
std::vector<std::int32_t> top_k(const std::vector<float>& probabilities, std::size_t experts, std::size_t k) {
  std::vector<std::int32_t> result;
  for (std::size_t row = 0; row < probabilities.size(); row += experts) {
    std::vector<std::int32_t> order(experts);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
      return probabilities[row + static_cast<std::size_t>(a)] > probabilities[row + static_cast<std::size_t>(b)];
    });
    result.insert(result.end(), order.begin(), order.begin() + static_cast<std::ptrdiff_t>(k));
  }
  return result;
}

Job job_of(const Goldens& goldens, const std::string& test_case, const ModelConfig& config) {
  Job job;
  job.tokens = goldens.at(test_case + ".ids").i32;
  job.attention = test_case == "bidirectional" ? Attention::kBidirectional : Attention::kCausal;
  for (std::size_t layer = 0; layer <= config.layers; ++layer) job.wants.hidden_after.push_back(layer);
  job.wants.normed_after = config.layers;
  job.wants.router = config.experts > 0;
  job.wants.logits = Wants::Logits::kAll;
  return job;
}

void expect_equal_outputs(const JobOutput& output, const Goldens& goldens, const std::string& test_case, const ModelConfig& config) {
  const auto want = [&](const std::string& name) -> const GoldenTensor& { return goldens.at(test_case + "." + name); };
  ASSERT_EQ(output.tokens, want("ids").i32.size());
  ASSERT_EQ(output.hidden.size(), config.layers + 1);
  for (std::size_t layer = 0; layer <= config.layers; ++layer) {
    EXPECT_LE(relative_error(output.hidden[layer], want("hidden." + std::to_string(layer)).f32), kTolerance) << "hidden." << layer;
  }
  EXPECT_LE(relative_error(output.normed, want("hidden.norm").f32), kTolerance) << "hidden.norm";
  EXPECT_LE(relative_error(output.logits, want("logits").f32), kTolerance) << "logits";
  if (config.experts == 0) return;
  ASSERT_EQ(output.router.size(), config.layers);
  for (std::size_t layer = 0; layer < config.layers; ++layer) {
    EXPECT_LE(relative_error(output.router[layer], want("router." + std::to_string(layer)).f32), kTolerance) << "router." << layer;
    EXPECT_EQ(top_k(output.router[layer], config.experts, config.experts_used), want("topk." + std::to_string(layer)).i32)
        << "layer " << layer;
  }
}

class Parity : public testing::TestWithParam<const char*> {};

TEST_P(Parity, EveryStateEqualsHuggingFace) {
  const auto file = ModelFile::open(golden_path(GetParam()));
  const Goldens goldens = read_golden_tensors(golden_path(std::string(GetParam()) + ".expected.safetensors"));
  for (const KernelTable& kernels : available_kernels()) {
    for (const std::size_t threads : {1, 2}) {
      EngineOptions options;
      options.threads = threads;
      options.compute = ComputeMode::kF32;
      options.kv_type = KvType::kF32;
      options.kv_slots = 512;
      options.simd = std::string(kernels.isa);
      const auto engine = Engine::create(*file, options);
      for (const char* test_case : {"causal", "bidirectional", "single"}) {
        SCOPED_TRACE(std::string(test_case) + ", " + options.simd + ", threads " + std::to_string(threads));
        expect_equal_outputs(engine->run(job_of(goldens, test_case, file->config())), goldens, test_case, file->config());
      }
    }
  }
}

// A prefill that is cut into steps of 8 tokens sees the earlier ones only through the KV pages.
TEST_P(Parity, SplitPrefillEqualsHuggingFace) {
  const auto file = ModelFile::open(golden_path(GetParam()));
  const Goldens goldens = read_golden_tensors(golden_path(std::string(GetParam()) + ".expected.safetensors"));
  EngineOptions options;
  options.threads = 1;
  options.compute = ComputeMode::kF32;
  options.kv_type = KvType::kF32;
  options.kv_slots = 512;
  options.max_batch_tokens = 8;
  const auto engine = Engine::create(*file, options);
  expect_equal_outputs(engine->run(job_of(goldens, "causal", file->config())), goldens, "causal", file->config());
}

// GRIT's caching: the states of bidirectional passes, one behind the other and both rotated from position 0, in front of a causal prompt.
TEST(GritParity, PromptsBehindEmbeddingPassesEqualHuggingFace) {
  for (const char* name : {"olmoe_plain_bf16", "olmoe_grouped_norm_sharded", "mistral_old_rope"}) {
    const auto file = ModelFile::open(golden_path(name));
    const Goldens goldens = read_golden_tensors(golden_path(std::string(name) + ".grit.safetensors"));
    EngineOptions options;
    options.threads = 2;
    options.compute = ComputeMode::kF32;
    options.kv_type = KvType::kF32;
    options.kv_slots = 512;
    const auto engine = Engine::create(*file, options);
    const auto pass = [&](const std::string& text) {
      Job job;
      job.tokens = goldens.at(text + ".ids").i32;
      job.attention = Attention::kBidirectional;
      job.wants.kv = {{0, job.tokens.size(), KvType::kF32}};
      return engine->run(std::move(job)).kv.at(0);
    };
    for (const bool with_query : {false, true}) {
      SCOPED_TRACE(std::string(name) + (with_query ? ", doc-query" : ", doc"));
      Job job;
      for (const char* text : {"doc", "query"}) {
        if (std::string(text) == "query" && !with_query) continue;
        Segment segment;
        segment.span = pass(text);
        segment.length = segment.span->tokens;
        segment.slot = job.context.empty() ? 0 : job.context.back().length;
        job.context.push_back(segment);
      }
      job.tokens = goldens.at("live.ids").i32;
      TokenRun run;
      run.count = job.tokens.size();
      run.slot = run.position = job.context.back().slot + job.context.back().length;
      job.runs.push_back(run);
      job.wants.normed_after = file->config().layers;
      job.wants.logits = Wants::Logits::kAll;
      const JobOutput output = engine->run(std::move(job));
      const std::string test_case = with_query ? "doc-query." : "doc.";
      EXPECT_LE(relative_error(output.normed, goldens.at(test_case + "hidden.norm").f32), kTolerance);
      EXPECT_LE(relative_error(output.logits, goldens.at(test_case + "logits").f32), kTolerance);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Configs, Parity, testing::ValuesIn(kConfigs), [](const auto& param) { return std::string(param.param); });

}  // namespace
}  // namespace gritstone
