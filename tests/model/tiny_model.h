// A model of a few thousand random weights in memory, for tests that need an engine but no file.
#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"
#include "model/model_file.h"

namespace gritstone {

inline ModelConfig tiny_config() {
  ModelConfig config;
  config.architecture = Architecture::kOlmoe;
  config.name = "tiny";
  config.layers = 3;
  config.hidden = 64;
  config.heads = 4;
  config.kv_heads = 2;
  config.head_dim = 16;
  config.ffn = 32;
  config.experts = 8;
  config.experts_used = 3;
  config.vocab = 97;
  config.context = 512;
  config.qk_norm = true;
  config.eos = 0;
  return config;
}

class TinyModel : public ModelFile {
 public:
  explicit TinyModel(const ModelConfig& config, DType matrices = DType::kF32, std::uint64_t seed = 1) : config_(config), random_(seed) {
    add("token_embd.weight", DType::kF32, {config.vocab, config.hidden});
    for (std::size_t i = 0; i < config.layers; ++i) {
      const std::string prefix = "blk." + std::to_string(i) + ".";
      add(prefix + "attn_norm.weight", DType::kF32, {config.hidden});
      add(prefix + "ffn_norm.weight", DType::kF32, {config.hidden});
      add(prefix + "attn_q.weight", matrices, {config.q_width(), config.hidden});
      add(prefix + "attn_k.weight", matrices, {config.kv_width(), config.hidden});
      add(prefix + "attn_v.weight", matrices, {config.kv_width(), config.hidden});
      add(prefix + "attn_output.weight", matrices, {config.hidden, config.q_width()});
      if (config.qk_norm) {
        add(prefix + "attn_q_norm.weight", DType::kF32, {config.q_width()});
        add(prefix + "attn_k_norm.weight", DType::kF32, {config.kv_width()});
      }
      if (config.experts > 0) {
        add(prefix + "ffn_gate_inp.weight", DType::kF32, {config.experts, config.hidden});
        add(prefix + "ffn_gate_exps.weight", matrices, {config.experts, config.ffn, config.hidden});
        add(prefix + "ffn_up_exps.weight", matrices, {config.experts, config.ffn, config.hidden});
        add(prefix + "ffn_down_exps.weight", matrices, {config.experts, config.hidden, config.ffn});
      } else {
        add(prefix + "ffn_gate.weight", matrices, {config.ffn, config.hidden});
        add(prefix + "ffn_up.weight", matrices, {config.ffn, config.hidden});
        add(prefix + "ffn_down.weight", matrices, {config.hidden, config.ffn});
      }
    }
    add("output_norm.weight", DType::kF32, {config.hidden});
    if (!config.tied_embeddings) add("output.weight", matrices, {config.vocab, config.hidden});
  }

  const std::filesystem::path& path() const noexcept override { return path_; }
  const ModelConfig& config() const noexcept override { return config_; }
  const std::vector<TensorRef>& tensors() const noexcept override { return tensors_; }
  std::uint64_t bytes() const noexcept override { return 0; }
  std::unique_ptr<Tokenizer> tokenizer() const override { throw Error(ErrorCode::kModelRejected, "a tiny model has no tokenizer"); }
  std::string hash() const override { return "tiny"; }
  void release(const TensorRef&) const noexcept override {}

 private:
  void add(const std::string& name, DType type, std::vector<std::size_t> shape) {
    std::size_t count = 1;
    for (const std::size_t n : shape) count *= n;
    // Vectors are norm weights around 1; matrices keep activations of order 1.
    std::normal_distribution<float> normal(shape.size() == 1 ? 1.0f : 0.0f, shape.size() == 1 ? 0.2f : 0.15f);
    std::vector<float> values(count);
    for (float& value : values) value = normal(random_);
    auto& bytes = *storage_.emplace_back(std::make_unique<std::vector<std::uint8_t>>(row_bytes(type, count)));
    quantize_row(type, values.data(), bytes.data(), count);
    TensorRef tensor;
    tensor.name = name;
    tensor.type = type;
    tensor.shape = std::move(shape);
    tensor.data = bytes.data();
    tensor.bytes = bytes.size();
    tensors_.push_back(std::move(tensor));
  }

  ModelConfig config_;
  std::mt19937_64 random_;
  std::filesystem::path path_ = "tiny";
  std::vector<std::unique_ptr<std::vector<std::uint8_t>>> storage_;
  std::vector<TensorRef> tensors_;
};

inline std::vector<TokenId> random_tokens(std::size_t n, std::uint64_t seed, std::size_t vocab = 97) {
  std::mt19937_64 random(seed);
  std::vector<TokenId> tokens(n);
  for (TokenId& token : tokens) token = static_cast<TokenId>(random() % vocab);
  return tokens;
}

}  // namespace gritstone
