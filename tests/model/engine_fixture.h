// A tiny model in every combination of types that the engine's promises are tested in.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "model/engine.h"
#include "tests/model/tiny_model.h"

namespace gritstone {

inline std::unique_ptr<Engine> make_engine(const ModelFile& file, ComputeMode compute = ComputeMode::kFast, KvType kv = KvType::kBF16,
                                           std::size_t threads = 2, std::size_t batch = 64) {
  EngineOptions options;
  options.compute = compute;
  options.kv_type = kv;
  options.threads = threads;
  options.max_batch_tokens = batch;
  options.kv_slots = 4096;
  return Engine::create(file, options);
}

inline Job logits_job(std::vector<TokenId> tokens) {
  Job job;
  job.tokens = std::move(tokens);
  job.wants.logits = Wants::Logits::kAll;
  return job;
}

inline ErrorCode code_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << "no error";
  return ErrorCode::kPartial;
}

struct Mode {
  DType type;
  ComputeMode compute;
  KvType kv;
};

inline std::string mode_name(const ::testing::TestParamInfo<Mode>& info) {
  const char* kv = info.param.kv == KvType::kF32 ? "f32" : info.param.kv == KvType::kBF16 ? "bf16" : "int8";
  return std::string(traits(info.param.type).name) + (info.param.compute == ComputeMode::kF32 ? "_f32_" : "_fast_") + kv;
}

class EngineTest : public ::testing::TestWithParam<Mode> {
 protected:
  TinyModel model_{tiny_config(), GetParam().type};
  std::unique_ptr<Engine> engine(std::size_t threads = 2, std::size_t batch = 64) {
    return make_engine(model_, GetParam().compute, GetParam().kv, threads, batch);
  }
};

inline auto engine_modes() {
  return ::testing::Values(Mode{DType::kF32, ComputeMode::kF32, KvType::kF32}, Mode{DType::kQ8_0, ComputeMode::kFast, KvType::kBF16},
                           Mode{DType::kQ4_0, ComputeMode::kFast, KvType::kInt8}, Mode{DType::kBF16, ComputeMode::kFast, KvType::kBF16},
                           Mode{DType::kQ5_1, ComputeMode::kF32, KvType::kBF16});
}

}  // namespace gritstone
