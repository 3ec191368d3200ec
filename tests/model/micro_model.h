// Model files of a few kilobytes for the tests of readers and writers: every weight is a known function of its tensor's name and index.
#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include "model/files/gguf_metadata.h"
#include "model/files/gguf_writer.h"
#include "model/files/tensor_table.h"
#include "model/safetensors_writer.h"

namespace gritstone {

inline ModelConfig micro_config(Architecture architecture) {
  ModelConfig c;
  c.architecture = architecture;
  c.name = "micro";
  c.layers = 2;
  c.hidden = 32;
  c.heads = 4;
  c.kv_heads = 4;
  c.head_dim = 8;
  c.ffn = 32;
  c.vocab = 12;
  c.context = 64;
  c.rms_norm_eps = 1e-5f;
  if (architecture == Architecture::kOlmoe) {
    c.experts = 3;
    c.experts_used = 2;
    c.qk_norm = true;
  } else {
    c.kv_heads = 2;
    c.rope_style = RopeStyle::kInterleaved;
  }
  return c;
}

inline std::size_t count_of(const std::vector<std::size_t>& shape) {
  return std::accumulate(shape.begin(), shape.end(), std::size_t{1}, std::multiplies<>());
}

// Multiples of 1/64 in [-2, 2): exact also in f16 and bf16.
inline float micro_value(std::string_view tensor, std::size_t index) {
  std::uint64_t h = 1469598103934665603u + index * 0x9E3779B97F4A7C15u;
  for (const char c : tensor) h = (h ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return static_cast<float>(static_cast<int>(h >> 33 & 255) - 128) / 64.0f;
}

inline std::vector<float> micro_values(std::string_view tensor, std::size_t n) {
  std::vector<float> out(n);
  for (std::size_t i = 0; i < n; ++i) out[i] = micro_value(tensor, i);
  return out;
}

inline void write_micro_gguf(const std::filesystem::path& path, const ModelConfig& config, DType matrices = DType::kF32,
                             const std::function<void(GgufWriter&)>& more = {}) {
  GgufWriter writer(path);
  write_config(writer, config, matrices);
  if (more) more(writer);
  const auto tensors = expected_tensors(config);
  const auto type_of = [&](const ExpectedTensor& t) { return t.shape.size() == 1 ? DType::kF32 : matrices; };
  for (const ExpectedTensor& tensor : tensors) writer.add_tensor(tensor.name, type_of(tensor), tensor.shape);
  writer.begin_data();
  for (const ExpectedTensor& tensor : tensors) {
    const std::vector<float> values = micro_values(tensor.name, count_of(tensor.shape));
    std::vector<std::uint8_t> bytes(row_bytes(type_of(tensor), values.size()));
    quantize_row(type_of(tensor), values.data(), bytes.data(), values.size());
    writer.append(bytes);
  }
  writer.commit();
}

// ---- Hugging Face directories

struct HfTensor {
  std::string name;
  std::vector<std::size_t> shape;
  std::vector<float> values;
};

inline std::string hf_base_name(const std::string& gguf) {
  constexpr std::pair<std::string_view, std::string_view> kNames[] = {
      {"attn_norm", "input_layernorm"},    {"ffn_norm", "post_attention_layernorm"},
      {"attn_q", "self_attn.q_proj"},      {"attn_k", "self_attn.k_proj"},
      {"attn_v", "self_attn.v_proj"},      {"attn_output", "self_attn.o_proj"},
      {"attn_q_norm", "self_attn.q_norm"}, {"attn_k_norm", "self_attn.k_norm"},
      {"ffn_gate_inp", "mlp.gate"},        {"ffn_gate", "mlp.gate_proj"},
      {"ffn_up", "mlp.up_proj"},           {"ffn_down", "mlp.down_proj"}};
  if (gguf == "token_embd.weight") return "model.embed_tokens.weight";
  if (gguf == "output_norm.weight") return "model.norm.weight";
  if (gguf == "output.weight") return "lm_head.weight";
  const std::size_t dot = gguf.find('.', 4);
  const std::string middle = gguf.substr(dot + 1, gguf.rfind('.') - dot - 1);
  for (const auto& [from, to] : kNames) {
    if (middle == from) return "model.layers." + gguf.substr(4, dot - 4) + "." + std::string(to) + ".weight";
  }
  return "model.layers." + gguf.substr(4, dot - 4) + "." + middle;
}

// Experts one by one as published, or fused as transformers 5 holds them in memory. Values as in write_micro_gguf.
inline std::vector<HfTensor> micro_hf_tensors(const ModelConfig& config, bool fused) {
  std::vector<HfTensor> out;
  const auto slice = [](const std::vector<float>& values, std::size_t part, std::size_t parts) {
    const std::size_t n = values.size() / parts;
    const auto begin = values.begin() + static_cast<std::ptrdiff_t>(part * n);
    return std::vector<float>(begin, begin + static_cast<std::ptrdiff_t>(n));
  };
  for (const ExpectedTensor& tensor : expected_tensors(config)) {
    const std::vector<float> values = micro_values(tensor.name, count_of(tensor.shape));
    if (tensor.role != TensorRole::kExperts) {
      out.push_back({hf_base_name(tensor.name), tensor.shape, values});
      continue;
    }
    const std::string layer = "model.layers." + tensor.name.substr(4, tensor.name.find('.', 4) - 4) + ".mlp.experts.";
    const bool gate = tensor.name.find("gate") != std::string::npos, up = tensor.name.find("up") != std::string::npos;
    if (!fused) {
      for (std::size_t e = 0; e < config.experts; ++e) {
        out.push_back({layer + std::to_string(e) +
                           (gate ? ".gate"
                            : up ? ".up"
                                 : ".down") +
                           "_proj.weight",
                       {tensor.shape[1], tensor.shape[2]},
                       slice(values, e, config.experts)});
      }
    } else if (gate) {
      std::string up_name = tensor.name;
      up_name.replace(up_name.find("gate"), 4, "up");
      const std::vector<float> up_values = micro_values(up_name, values.size());
      HfTensor joined{layer + "gate_up_proj", {config.experts, 2 * tensor.shape[1], tensor.shape[2]}, {}};
      for (std::size_t e = 0; e < config.experts; ++e) {
        for (const auto* half : {&values, &up_values}) {
          const auto part = slice(*half, e, config.experts);
          joined.values.insert(joined.values.end(), part.begin(), part.end());
        }
      }
      out.push_back(std::move(joined));
    } else if (!up) {
      out.push_back({layer + "down_proj", tensor.shape, values});
    }
  }
  return out;
}

inline void write_text(const std::filesystem::path& path, std::string_view text) { std::ofstream(path, std::ios::binary) << text; }

inline void write_safetensors(const std::filesystem::path& path, const std::vector<HfTensor>& tensors) {
  std::vector<SafetensorsEntry> entries;
  for (const HfTensor& tensor : tensors) entries.push_back({tensor.name, tensor.shape});
  SafetensorsWriter writer(path, entries);
  for (const HfTensor& tensor : tensors) writer.append(tensor.values);
  writer.commit();
}

inline std::string micro_config_json(const ModelConfig& c, const std::string& more = "") {
  const bool olmoe = c.architecture == Architecture::kOlmoe;
  std::string json = std::string(R"({"architectures": [")") + (olmoe ? "OlmoeForCausalLM" : "LlamaForCausalLM") + R"("], "model_type": ")" +
                     (olmoe ? "olmoe" : "llama") + "\"";
  const auto add = [&json](const char* key, std::size_t value) { json += std::string(", \"") + key + "\": " + std::to_string(value); };
  add("num_hidden_layers", c.layers);
  add("hidden_size", c.hidden);
  add("num_attention_heads", c.heads);
  add("num_key_value_heads", c.kv_heads);
  add("intermediate_size", c.ffn);
  add("vocab_size", c.vocab);
  add("max_position_embeddings", c.context);
  if (olmoe) add("num_experts", c.experts), add("num_experts_per_tok", c.experts_used);
  return json + R"(, "rms_norm_eps": 1e-05)" + (c.tied_embeddings ? R"(, "tie_word_embeddings": true)" : "") + more + "}";
}

// Values of a tensor, whatever its storage.
inline std::vector<float> values_of(const TensorRef& tensor) {
  const std::size_t n = count_of(tensor.shape);
  std::vector<float> out(n);
  if (tensor.data != nullptr) {
    dequantize_row(tensor.type, tensor.data, out.data(), n);
    return out;
  }
  const std::size_t part = n / tensor.parts.size();
  for (std::size_t e = 0; e < tensor.parts.size(); ++e) dequantize_row(tensor.type, tensor.parts[e], out.data() + e * part, part);
  return out;
}

inline std::vector<std::uint8_t> file_bytes(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

}  // namespace gritstone
