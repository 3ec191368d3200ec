// The engine on the CUDA backend beside the CPU's f32 engine, on tiny models of every kind.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "model/affine_blocks.h"
#include "tests/model/cuda/device_array.h"
#include "tests/model/engine_fixture.h"

namespace gritstone {

// bf16 activations and weights, int8 activations for the vec products of quantised weights: per row, relative to the row's norm. In models
// this small some token's routing is always close to a tie and may go the other way, so the typical row is held to the rounding, and most
// of the others too.
inline constexpr double kTypical = 5e-2, kTypicalQuantised = 9e-2, kFar = 2e-1;
inline constexpr std::size_t kVocab = 97;

struct RowErrors {
  double median = INFINITY;
  double far = 1;  // share of rows beyond kFar
};

inline RowErrors row_errors(const std::vector<float>& got, const std::vector<float>& want, std::size_t width) {
  RowErrors errors;
  if (got.size() != want.size() || got.empty()) return errors;
  std::vector<double> rows;
  for (std::size_t begin = 0; begin < got.size(); begin += width) {
    double difference = 0, norm = 0;
    for (std::size_t i = begin; i < begin + width; ++i) {
      const double d = static_cast<double>(got[i]) - static_cast<double>(want[i]);
      difference += d * d;
      norm += static_cast<double>(want[i]) * static_cast<double>(want[i]);
    }
    rows.push_back(std::sqrt(difference / norm));
  }
  std::sort(rows.begin(), rows.end());
  errors.median = rows[rows.size() / 2];
  const auto near = std::upper_bound(rows.begin(), rows.end(), kFar) - rows.begin();
  errors.far = 1.0 - static_cast<double>(near) / static_cast<double>(rows.size());
  return errors;
}

inline ModelConfig dense_config() {
  ModelConfig config = tiny_config();
  config.architecture = Architecture::kLlama;
  config.experts = config.experts_used = 0;
  config.qk_norm = false;
  config.rope_style = RopeStyle::kInterleaved;
  config.tied_embeddings = true;
  config.ffn = 96;
  return config;
}

inline ModelConfig many_experts_config() {
  ModelConfig config = tiny_config();
  config.norm_topk_prob = true;
  config.clip_qkv = 1.5f;
  config.kv_heads = config.heads;
  return config;
}

inline EngineOptions cuda_options(std::size_t batch = 256) {
  EngineOptions options;
  options.device = Device::kCuda;
  options.threads = 2;
  options.max_batch_tokens = batch;
  options.kv_slots = 2048;
  options.device_span_bytes = std::size_t{1} << 20;
  return options;
}

struct Shape {
  const char* name;
  ModelConfig config;
  DType type;
};

class CudaEngine : public testing::TestWithParam<Shape> {
 protected:
  void SetUp() override { GS_REQUIRE_DEVICE(); }
  TinyModel model_{GetParam().config, GetParam().type};
  static void expect_near(const std::vector<float>& got, const std::vector<float>& want, std::size_t width, const std::string& what) {
    const RowErrors errors = row_errors(got, want, width);
    EXPECT_LE(errors.median, affine_format(GetParam().type) ? kTypicalQuantised : kTypical) << what;
    EXPECT_LE(errors.far, 0.15) << what;
  }
  std::unique_ptr<Engine> cpu_ = make_engine(model_, ComputeMode::kF32, KvType::kBF16);
};

inline auto cuda_shapes() {
  return testing::Values(Shape{"olmoe_bf16", tiny_config(), DType::kBF16}, Shape{"olmoe_q4_0", tiny_config(), DType::kQ4_0},
                         Shape{"olmoe_q8_0", tiny_config(), DType::kQ8_0}, Shape{"dense_bf16", dense_config(), DType::kBF16},
                         Shape{"dense_q5_1", dense_config(), DType::kQ5_1}, Shape{"many_bf16", many_experts_config(), DType::kBF16});
}
inline std::string shape_name(const testing::TestParamInfo<Shape>& shape) { return shape.param.name; }

}  // namespace gritstone
