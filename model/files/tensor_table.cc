#include "model/files/tensor_table.h"

#include <cmath>
#include <unordered_map>

#include "base/error.h"
#include "model/files/byte_reader.h"

namespace gritstone {
namespace {

[[noreturn]] void reject(const std::string& what, const std::string& reason) {
  throw Error(ErrorCode::kModelRejected, what + ": " + reason);
}

void check_range(const std::string& what, const char* field, std::size_t value, std::size_t low, std::size_t high) {
  if (value < low || value > high) {
    reject(what, std::string(field) + " is " + std::to_string(value) + ", expected " + std::to_string(low) + " to " + std::to_string(high));
  }
}

bool starts_with(std::string_view text, std::string_view prefix) { return text.substr(0, prefix.size()) == prefix; }

bool ends_with(std::string_view text, std::string_view suffix) {
  return text.size() >= suffix.size() && text.substr(text.size() - suffix.size()) == suffix;
}

}  // namespace

std::string shape_text(const std::vector<std::size_t>& shape) {
  std::string out = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) out += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return out + "]";
}

std::vector<ExpectedTensor> expected_tensors(const ModelConfig& c) {
  std::vector<ExpectedTensor> out;
  out.push_back({"token_embd.weight", {c.vocab, c.hidden}, TensorRole::kEmbedding});
  for (std::size_t layer = 0; layer < c.layers; ++layer) {
    const std::string block = "blk." + std::to_string(layer) + ".";
    const auto add = [&](const char* name, std::vector<std::size_t> shape, TensorRole role) {
      out.push_back({block + name + ".weight", std::move(shape), role});
    };
    add("attn_norm", {c.hidden}, TensorRole::kNorm);
    add("attn_q", {c.q_width(), c.hidden}, TensorRole::kLinear);
    add("attn_k", {c.kv_width(), c.hidden}, TensorRole::kLinear);
    add("attn_v", {c.kv_width(), c.hidden}, TensorRole::kLinear);
    add("attn_output", {c.hidden, c.q_width()}, TensorRole::kLinear);
    if (c.qk_norm) {
      add("attn_q_norm", {c.q_width()}, TensorRole::kNorm);
      add("attn_k_norm", {c.kv_width()}, TensorRole::kNorm);
    }
    add("ffn_norm", {c.hidden}, TensorRole::kNorm);
    if (c.experts > 0) {
      add("ffn_gate_inp", {c.experts, c.hidden}, TensorRole::kRouter);
      add("ffn_gate_exps", {c.experts, c.ffn, c.hidden}, TensorRole::kExperts);
      add("ffn_up_exps", {c.experts, c.ffn, c.hidden}, TensorRole::kExperts);
      add("ffn_down_exps", {c.experts, c.hidden, c.ffn}, TensorRole::kExperts);
    } else {
      add("ffn_gate", {c.ffn, c.hidden}, TensorRole::kLinear);
      add("ffn_up", {c.ffn, c.hidden}, TensorRole::kLinear);
      add("ffn_down", {c.hidden, c.ffn}, TensorRole::kLinear);
    }
  }
  out.push_back({"output_norm.weight", {c.hidden}, TensorRole::kNorm});
  if (!c.tied_embeddings) out.push_back({"output.weight", {c.vocab, c.hidden}, TensorRole::kOutput});
  return out;
}

void check_config(const ModelConfig& c, const std::string& what) {
  check_range(what, "number of layers", c.layers, 1, 1024);
  check_range(what, "hidden size", c.hidden, 1, 65536);
  check_range(what, "number of heads", c.heads, 1, 1024);
  check_range(what, "number of key-value heads", c.kv_heads, 1, c.heads);
  if (c.heads % c.kv_heads != 0) {
    reject(what, std::to_string(c.heads) + " heads cannot share " + std::to_string(c.kv_heads) + " key-value heads evenly");
  }
  check_range(what, "head dimension", c.head_dim, 2, 4096);
  if (c.head_dim % 2 != 0) reject(what, "head dimension " + std::to_string(c.head_dim) + " is odd");
  check_range(what, "feed-forward width", c.ffn, 1, std::size_t{1} << 20);
  check_range(what, "vocabulary size", c.vocab, 1, std::size_t{1} << 24);
  check_range(what, "context length", c.context, 1, std::size_t{1} << 31);
  if (c.architecture == Architecture::kOlmoe) {
    check_range(what, "number of experts", c.experts, 1, 4096);
    check_range(what, "number of experts used", c.experts_used, 1, c.experts);
  } else if (c.experts != 0) {
    reject(what, "llama models with experts (Mixtral) are not supported");
  }
  if (!(c.rms_norm_eps > 0.0f && c.rms_norm_eps < 1.0f)) reject(what, "RMSNorm epsilon is " + std::to_string(c.rms_norm_eps));
  if (!(c.rope_theta >= 1.0f && std::isfinite(c.rope_theta))) reject(what, "RoPE base is " + std::to_string(c.rope_theta));
  if (!(c.clip_qkv >= 0.0f && std::isfinite(c.clip_qkv))) reject(what, "clip_qkv is " + std::to_string(c.clip_qkv));
}

void check_tensors(const ModelConfig& config, const std::vector<TensorRef>& tensors, const std::string& what) {
  std::unordered_map<std::string_view, const TensorRef*> by_name;
  for (const TensorRef& tensor : tensors) by_name.emplace(tensor.name, &tensor);

  for (const ExpectedTensor& expected : expected_tensors(config)) {
    const auto it = by_name.find(expected.name);
    if (it == by_name.end()) reject(what, "tensor " + expected.name + " is missing");
    const TensorRef& tensor = *it->second;
    if (tensor.shape != expected.shape) {
      reject(what, "tensor " + expected.name + " has shape " + shape_text(tensor.shape) + ", the hyperparameters ask for " +
                       shape_text(expected.shape));
    }
    if (expected.shape.size() == 1 && traits(tensor.type).block != 1) {
      reject(what,
             "tensor " + expected.name + " is a vector of type " + std::string(traits(tensor.type).name) + ", expected f32, f16 or bf16");
    }
    by_name.erase(it);
  }
  for (const auto& [name, tensor] : by_name) {
    if (ends_with(name, ".bias")) reject(what, "tensor " + printable(name) + ": biases are not supported");
    if (starts_with(name, "blk."))
      reject(what, "tensor " + printable(name) + " is not part of the architecture or beyond the number of layers");
  }
}

}  // namespace gritstone
