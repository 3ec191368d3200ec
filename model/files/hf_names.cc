#include "model/files/hf_names.h"

#include <charconv>
#include <utility>

namespace gritstone {
namespace {

constexpr std::pair<std::string_view, std::string_view> kTopLevel[] = {
    {"model.embed_tokens.weight", "token_embd.weight"}, {"model.norm.weight", "output_norm.weight"}, {"lm_head.weight", "output.weight"}};

constexpr std::pair<std::string_view, std::string_view> kBlock[] = {
    {"input_layernorm.weight", "attn_norm.weight"},    {"post_attention_layernorm.weight", "ffn_norm.weight"},
    {"self_attn.q_proj.weight", "attn_q.weight"},      {"self_attn.k_proj.weight", "attn_k.weight"},
    {"self_attn.v_proj.weight", "attn_v.weight"},      {"self_attn.o_proj.weight", "attn_output.weight"},
    {"self_attn.q_norm.weight", "attn_q_norm.weight"}, {"self_attn.k_norm.weight", "attn_k_norm.weight"},
    {"self_attn.q_proj.bias", "attn_q.bias"},          {"self_attn.k_proj.bias", "attn_k.bias"},
    {"self_attn.v_proj.bias", "attn_v.bias"},          {"self_attn.o_proj.bias", "attn_output.bias"},
    {"mlp.gate.weight", "ffn_gate_inp.weight"},        {"mlp.gate_proj.weight", "ffn_gate.weight"},
    {"mlp.up_proj.weight", "ffn_up.weight"},           {"mlp.down_proj.weight", "ffn_down.weight"},
    {"mlp.gate_proj.bias", "ffn_gate.bias"},           {"mlp.up_proj.bias", "ffn_up.bias"},
    {"mlp.down_proj.bias", "ffn_down.bias"},           {"mlp.experts.down_proj", "ffn_down_exps.weight"},
};

constexpr std::pair<std::string_view, std::string_view> kExpert[] = {
    {"gate_proj.weight", "ffn_gate_exps.weight"}, {"up_proj.weight", "ffn_up_exps.weight"}, {"down_proj.weight", "ffn_down_exps.weight"}};

bool consume(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

// A decimal number without leading zeros and the dot behind it.
std::optional<std::size_t> consume_index(std::string_view& text) {
  std::size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const auto digits = static_cast<std::size_t>(end - text.data());
  if (error != std::errc() || digits > 6 || digits >= text.size() || text[digits] != '.' || (digits > 1 && text[0] == '0'))
    return std::nullopt;
  text.remove_prefix(digits + 1);
  return value;
}

}  // namespace

std::optional<HfName> map_hf_name(std::string_view name) {
  for (const auto& [hf, gguf] : kTopLevel) {
    if (name == hf) return HfName{std::string(gguf), {}, {}};
  }
  if (!consume(name, "model.layers.")) return std::nullopt;
  const auto layer = consume_index(name);
  if (!layer) return std::nullopt;
  const std::string block = "blk." + std::to_string(*layer) + ".";
  for (const auto& [hf, gguf] : kBlock) {
    if (name == hf) return HfName{block + std::string(gguf), {}, {}};
  }
  if (name == "mlp.experts.gate_up_proj") return HfName{block + "ffn_gate_exps.weight", {}, block + "ffn_up_exps.weight"};
  if (!consume(name, "mlp.experts.")) return std::nullopt;
  const auto expert = consume_index(name);
  if (!expert) return std::nullopt;
  for (const auto& [hf, gguf] : kExpert) {
    if (name == hf) return HfName{block + std::string(gguf), *expert, {}};
  }
  return std::nullopt;
}

}  // namespace gritstone
