// Jobs on the CUDA backend whose context are spans, against the CPU's f32 engine.
#include <gtest/gtest.h>

#include "tests/model/cuda/cuda_engine.h"

namespace gritstone {
namespace {

class CudaEngineSpans : public CudaEngine {};

TEST_P(CudaEngineSpans, SpansComposeAndComeFromTheDeviceTheSecondTime) {
  const std::vector<TokenId> tokens = random_tokens(140, 7);
  const auto cuda = Engine::create(model_, cuda_options());
  const std::vector<float> want = cpu_->run(logits_job(tokens)).logits;
  for (const KvType type : {KvType::kBF16, KvType::kF32, KvType::kInt8}) {
    Job prefix;
    prefix.tokens.assign(tokens.begin(), tokens.begin() + 130);
    prefix.wants.kv = {{0, 130, type}};
    const auto span = cuda->run(prefix).kv.at(0);
    ASSERT_EQ(span->type, type);
    Job rest;
    rest.context = {Segment{span, 0, 40, 0, 0, 0}, Segment{span, 40, 90, 40, 40, 0}};
    rest.tokens.assign(tokens.begin() + 130, tokens.end());
    rest.wants.logits = Wants::Logits::kAll;
    const JobOutput output = cuda->run(rest);
    EXPECT_GT(output.load_seconds, 0) << "loading counts as loading, though it happens inside of the step";
    const std::vector<float> first = output.logits, second = cuda->run(rest).logits;
    expect_near(first, {want.begin() + 130 * kVocab, want.end()}, kVocab, std::string(kv_type_name(type)));
    EXPECT_EQ(first, second);
  }
}

// int4 spans round too much to compare with the whole; the CPU composes the same bytes.
TEST_P(CudaEngineSpans, GroupsAndPositionsEqualTheCpus) {
  const auto cuda = Engine::create(model_, cuda_options());
  for (const KvType type : {KvType::kInt4, KvType::kBF16}) {
    Job job;
    std::size_t slot = 0;
    for (Group group = 0; group < 3; ++group) {
      Job pass;
      pass.tokens = random_tokens(70, 40 + static_cast<std::uint64_t>(group));
      pass.wants.kv = {{0, 70, type}};
      job.context.push_back(Segment{cpu_->run(pass).kv.at(0), 0, 70, slot, static_cast<std::size_t>(7 * group), group});
      slot += 70;
    }
    for (const std::size_t count : {4, 30}) {
      Job ask = job;
      ask.tokens = random_tokens(2 * count, 50);
      ask.runs = {TokenRun{0, count, slot, 90, 2}, TokenRun{count, count, slot + count, 90 + count, kSeesAll}};
      ask.wants.logits = Wants::Logits::kAll;
      expect_near(cuda->run(ask).logits, cpu_->run(ask).logits, kVocab, std::string(kv_type_name(type)) + ", " + std::to_string(count));
    }
  }
}

// More spans than the device keeps: some are dropped, some do not fit at all, none is wrong.
TEST_P(CudaEngineSpans, SpansBeyondTheBudgetStillLoad) {
  EngineOptions options = cuda_options();
  for (const std::size_t budget : {std::size_t{0}, std::size_t{60} << 10}) {
    options.device_span_bytes = budget;
    const auto cuda = Engine::create(model_, options);
    std::vector<std::shared_ptr<const KvSpan>> spans;
    for (std::uint64_t seed = 0; seed < 4; ++seed) {
      Job pass;
      pass.tokens = random_tokens(seed == 3 ? 200 : 64, 60 + seed);
      pass.wants.kv = {{0, pass.tokens.size(), KvType::kBF16}};
      spans.push_back(cpu_->run(pass).kv.at(0));
    }
    for (const std::size_t i : {0, 1, 2, 0, 3, 1}) {
      Job ask;
      ask.context = {Segment{spans[i], 0, spans[i]->tokens, 0, 0, 0}};
      ask.tokens = random_tokens(5, 70 + i);
      ask.wants.logits = Wants::Logits::kAll;
      expect_near(cuda->run(ask).logits, cpu_->run(ask).logits, kVocab, "span " + std::to_string(i));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, CudaEngineSpans, cuda_shapes(), shape_name);

}  // namespace
}  // namespace gritstone
