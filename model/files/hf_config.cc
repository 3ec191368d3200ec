#include "model/files/hf_config.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "model/files/byte_reader.h"
#include "model/files/tensor_table.h"

namespace gritstone {
namespace {

[[noreturn]] void reject(const std::string& what, const std::string& reason) {
  throw Error(ErrorCode::kModelRejected, what + ": " + reason);
}

const rapidjson::Value* member(const rapidjson::Value& object, const char* key) {
  const auto it = object.FindMember(key);
  return it == object.MemberEnd() || it->value.IsNull() ? nullptr : &it->value;
}

std::optional<std::size_t> size(const rapidjson::Value& object, const char* key) {
  const auto value = json_integer(object, key);
  if (!value) return std::nullopt;
  if (*value < 0) throw Error(ErrorCode::kInvalidArgument, std::string("\"") + key + "\" is negative");
  return static_cast<std::size_t>(*value);
}

std::size_t required(const rapidjson::Value& object, const char* key) {
  const auto value = size(object, key);
  if (!value) throw Error(ErrorCode::kInvalidArgument, std::string("\"") + key + "\" is missing");
  return *value;
}

// An id, or the first of a list of ids (several end-of-text tokens); `fallback` if the key is absent. Ids outside the vocabulary are none:
// shrunken checkpoints keep the ids of the original.
TokenId token_id(const rapidjson::Value& object, const char* key, std::size_t vocab, std::int64_t fallback = -1) {
  std::int64_t id = fallback;
  if (const auto it = object.FindMember(key); it != object.MemberEnd()) {
    const rapidjson::Value* value = &it->value;
    if (value->IsArray()) value = value->Empty() ? nullptr : &(*value)[0];
    if (value != nullptr && !value->IsNull() && !value->IsInt64()) {
      throw Error(ErrorCode::kInvalidArgument, std::string("\"") + key + "\" must be a token id");
    }
    id = value != nullptr && value->IsInt64() ? value->GetInt64() : -1;
  }
  return id >= 0 && static_cast<std::uint64_t>(id) < vocab ? static_cast<TokenId>(id) : -1;
}

// The RoPE base stands at the top level before transformers 5 and inside rope_parameters since; scaling in rope_scaling or there.
float read_rope(const rapidjson::Value& config) {
  double theta = json_number(config, "rope_theta").value_or(10000.0);
  for (const char* key : {"rope_parameters", "rope_scaling"}) {
    const rapidjson::Value* rope = member(config, key);
    if (rope == nullptr) continue;
    if (!rope->IsObject()) throw Error(ErrorCode::kInvalidArgument, std::string("\"") + key + "\" must be an object");
    theta = json_number(*rope, "rope_theta").value_or(theta);
    const std::string type = json_string(*rope, "rope_type").value_or(json_string(*rope, "type").value_or("default"));
    if (type != "default") throw Error(ErrorCode::kInvalidArgument, "RoPE scaling of type \"" + printable(type) + "\" is not supported");
    if (json_number(*rope, "partial_rotary_factor").value_or(1.0) != 1.0)
      throw Error(ErrorCode::kInvalidArgument, "partial RoPE is not supported");
  }
  return static_cast<float>(theta);
}

Architecture read_architecture(const rapidjson::Value& config) {
  std::string name;
  if (const rapidjson::Value* list = member(config, "architectures");
      list != nullptr && list->IsArray() && !list->Empty() && (*list)[0].IsString()) {
    name = (*list)[0].GetString();
  }
  const std::string type = json_string(config, "model_type").value_or("");
  if (name == "OlmoeForCausalLM" || (name.empty() && type == "olmoe")) return Architecture::kOlmoe;
  if (name == "LlamaForCausalLM" || name == "MistralForCausalLM" || (name.empty() && (type == "llama" || type == "mistral"))) {
    return Architecture::kLlama;
  }
  throw Error(ErrorCode::kInvalidArgument, "architecture \"" + printable(name.empty() ? type : name) +
                                               "\" is not supported (OlmoeForCausalLM, LlamaForCausalLM, MistralForCausalLM)");
}

ModelConfig read_config(const rapidjson::Value& config) {
  ModelConfig c;
  c.architecture = read_architecture(config);
  const bool olmoe = c.architecture == Architecture::kOlmoe;
  const bool mistral = json_string(config, "model_type").value_or("") == "mistral";
  for (const char* key : {"attention_bias", "mlp_bias"}) {
    if (json_bool(config, key).value_or(false)) throw Error(ErrorCode::kInvalidArgument, std::string(key) + ": biases are not supported");
  }
  if (member(config, "quantization_config") != nullptr) {
    throw Error(ErrorCode::kInvalidArgument, "quantised checkpoints are not supported; use the original weights or a GGUF");
  }
  if (const std::string act = json_string(config, "hidden_act").value_or("silu"); act != "silu" && act != "swish") {
    throw Error(ErrorCode::kInvalidArgument, "activation \"" + printable(act) + "\" is not supported (silu)");
  }
  c.layers = required(config, "num_hidden_layers");
  c.hidden = required(config, "hidden_size");
  c.heads = required(config, "num_attention_heads");
  if (c.heads == 0) throw Error(ErrorCode::kInvalidArgument, "\"num_attention_heads\" is 0");
  // MistralConfig's default is 8 groups; the others default to one per head.
  c.kv_heads = size(config, "num_key_value_heads").value_or(mistral ? 8 : c.heads);
  const auto head_dim = size(config, "head_dim");
  if (!head_dim && c.hidden % c.heads != 0) {
    throw Error(ErrorCode::kInvalidArgument,
                "hidden_size " + std::to_string(c.hidden) + " cannot be split into " + std::to_string(c.heads) + " heads");
  }
  c.head_dim = head_dim.value_or(c.hidden / c.heads);
  c.ffn = required(config, "intermediate_size");
  c.vocab = required(config, "vocab_size");
  c.context = size(config, "max_position_embeddings").value_or(olmoe ? 4096 : mistral ? 131072 : 2048);
  if (const auto window = size(config, "sliding_window"); mistral && window && *window > 0) c.context = std::min(c.context, *window);
  c.rms_norm_eps = static_cast<float>(json_number(config, "rms_norm_eps").value_or(olmoe ? 1e-5 : 1e-6));
  c.rope_theta = read_rope(config);
  c.rope_style = RopeStyle::kNeox;
  c.tied_embeddings = json_bool(config, "tie_word_embeddings").value_or(false);
  if (olmoe) {
    c.qk_norm = true;
    c.experts = size(config, "num_experts").value_or(64);
    c.experts_used = size(config, "num_experts_per_tok").value_or(8);
    c.norm_topk_prob = json_bool(config, "norm_topk_prob").value_or(false);
    c.clip_qkv = static_cast<float>(json_number(config, "clip_qkv").value_or(0.0));
  }
  c.bos = token_id(config, "bos_token_id", c.vocab);
  c.eos = token_id(config, "eos_token_id", c.vocab, olmoe ? 50279 : -1);
  c.pad = token_id(config, "pad_token_id", c.vocab, olmoe ? 1 : -1);
  c.grit_tuned = json_string(config, "gritstone_tuning").value_or("") == "grit";
  return c;
}

}  // namespace

ModelConfig hf_config(std::string_view config_json, const std::string& what) {
  try {
    const rapidjson::Document document = parse_json(config_json, "JSON");
    if (!document.IsObject()) throw Error(ErrorCode::kInvalidArgument, "not an object");
    ModelConfig config = read_config(document);
    check_config(config, what);
    return config;
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kModelRejected) throw;
    reject(what, error.what());
  }
}

std::string hf_chat_template(std::string_view tokenizer_config_json) {
  try {
    const rapidjson::Document document = parse_json(tokenizer_config_json, "tokenizer_config.json");
    if (!document.IsObject()) return {};
    const rapidjson::Value* value = member(document, "chat_template");
    if (value == nullptr) return {};
    if (value->IsString()) return value->GetString();
    if (!value->IsArray()) return {};
    for (const rapidjson::Value& entry : value->GetArray()) {
      if (entry.IsObject() && json_string(entry, "name") == "default") return json_string(entry, "template").value_or("");
    }
  } catch (const Error&) {  // the template only helps to recognise the prompt format; the tokenizer reports what is wrong with the file
  }
  return {};
}

}  // namespace gritstone
