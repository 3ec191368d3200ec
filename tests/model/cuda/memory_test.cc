// Device memory that runs out while an engine works: jobs take smaller steps or end with an error, and the engine goes on.
#include <gtest/gtest.h>

#include "model/kernels/cuda/device.h"
#include "tests/model/cuda/distance.h"
#include "tests/model/engine_fixture.h"

namespace gritstone {
namespace {

std::size_t free_memory() {
  std::size_t free = 0, total = 0;
  cuda::check(cudaMemGetInfo(&free, &total), "free memory");
  return free;
}

// Takes all memory but `left` bytes while it lives.
cuda::DeviceBuffer take_all_but(std::size_t left) { return cuda::DeviceBuffer(free_memory() - left); }

class CudaMemory : public testing::Test {
 protected:
  static constexpr std::size_t kTokens = 64;

  void SetUp() override {
#if !defined(GRITSTONE_EMULATE_CUDA)
    GTEST_SKIP() << "a device hands out memory in pages of 2 MiB, more than this model needs; the emulation counts bytes";
#endif
  }
  std::unique_ptr<Engine> engine_on_device(std::size_t batch = 256) {
    EngineOptions options;
    options.device = Device::kCuda;
    options.threads = 2;
    options.max_batch_tokens = batch;
    options.kv_slots = 2048;
    options.device_span_bytes = 0;
    return Engine::create(model_, options);
  }
  // Bytes that a fresh engine takes for the prefill.
  std::size_t bytes_of_prefill(std::size_t batch) {
    const auto engine = engine_on_device(batch);
    const std::size_t before = free_memory();
    engine->run(prefill_);
    return before - free_memory();
  }
  void expect_answers(Engine& engine, const Job& job) {
    const std::vector<float> got = engine.run(job).logits, want = cpu_->run(job).logits;
    ASSERT_EQ(got.size(), want.size());
    EXPECT_LT(cuda::distance(got, {want.begin(), want.end()}), 0.1);
  }

  TinyModel model_{tiny_config(), DType::kBF16};
  std::unique_ptr<Engine> cpu_ = make_engine(model_, ComputeMode::kF32, KvType::kBF16);
  Job prefill_ = logits_job(random_tokens(kTokens, 1));
};

TEST_F(CudaMemory, AStepThatDoesNotFitIsDoneInParts) {
  const std::size_t whole = bytes_of_prefill(256), half = bytes_of_prefill(kTokens / 2);
  ASSERT_LT(half, whole);
  const auto engine = engine_on_device();
  const std::size_t before = free_memory();
  {
    const cuda::DeviceBuffer others = take_all_but((half + whole) / 2);
    expect_answers(*engine, prefill_);
  }
  EXPECT_LT(before - free_memory(), whole);

  // With the memory back and some steps later, whole steps again.
  std::size_t steps = 0;
  Job writes;
  writes.tokens = random_tokens(4, 2);
  writes.wants.logits = Wants::Logits::kLast;
  writes.max_slots = 64;
  writes.next = [&](const JobOutput&) -> std::optional<NextTokens> {
    if (++steps == 40) return std::nullopt;
    return NextTokens{{static_cast<TokenId>(steps)}, std::nullopt, Wants::Logits::kLast};
  };
  engine->run(std::move(writes));
  expect_answers(*engine, prefill_);
  EXPECT_GE(before - free_memory(), whole);
}

TEST_F(CudaMemory, WithoutAnyMemoryJobsFailAndTheEngineLives) {
  const auto engine = engine_on_device();
  {
    const cuda::DeviceBuffer others = take_all_but(0);
    for (int i = 0; i < 2; ++i) EXPECT_EQ(code_of([&] { engine->run(prefill_); }), ErrorCode::kMemoryBudget);
  }
  expect_answers(*engine, prefill_);
}

TEST_F(CudaMemory, AJobWhoseSpansDoNotFitFailsAlone) {
  Job pass;
  pass.tokens = random_tokens(100, 3);
  pass.wants.kv = {{0, 100, KvType::kBF16}};
  Job asks = logits_job(random_tokens(6, 4));
  asks.context = {Segment{cpu_->run(pass).kv.at(0), 0, 100, 0, 0, 0}};
  const auto engine = engine_on_device();
  expect_answers(*engine, prefill_);  // takes what steps of this size need
  {
    const cuda::DeviceBuffer others = take_all_but(1000);
    EXPECT_EQ(code_of([&] { engine->run(asks); }), ErrorCode::kMemoryBudget);
    expect_answers(*engine, prefill_);
  }
  expect_answers(*engine, asks);
}

}  // namespace
}  // namespace gritstone
