#include "model/files/gguf_config.h"

#include <algorithm>
#include <cctype>
#include <cmath>

#include "base/error.h"
#include "model/files/byte_reader.h"
#include "model/files/tensor_table.h"

namespace gritstone {
namespace {

[[noreturn]] void reject(const std::string& what, const std::string& reason) {
  throw Error(ErrorCode::kModelRejected, what + ": " + reason);
}

const GgufTensor* find_tensor(const GgufFile& file, std::string_view name) {
  for (const GgufTensor& tensor : file.tensors()) {
    if (tensor.name == name) return &tensor;
  }
  return nullptr;
}

// Reads {prefix}key with the errors of a missing key.
struct Keys {
  const GgufFile& file;
  const std::string& what;
  std::string prefix;

  std::optional<std::size_t> size(const char* key) const {
    const std::string name = prefix + key;
    const GgufValue* value = file.find(name);
    if (value != nullptr && value->type == GgufType::kArray) reject(what, name + " differs from layer to layer, which is not supported");
    return file.unsigned_integer(name);
  }
  std::size_t required_size(const char* key) const {
    const auto value = size(key);
    if (!value) reject(what, "metadata key " + prefix + key + " is missing");
    return *value;
  }
  std::optional<float> number(const char* key) const {
    const auto value = file.number(prefix + key);
    if (!value) return std::nullopt;
    return static_cast<float>(*value);
  }
};

// Llama 3.1 style scaling is stored as one factor per frequency; factors of 1 change nothing.
void check_rope_scaling(const GgufFile& file, const Keys& keys, const std::string& what) {
  const std::string scaling = file.text(keys.prefix + "rope.scaling.type").value_or("none");
  const float factor = keys.number("rope.scaling.factor").value_or(1.0f);
  const float linear = keys.number("rope.scale_linear").value_or(1.0f);
  if ((scaling != "none" && factor != 1.0f) || linear != 1.0f) {
    reject(what, "RoPE scaling (" + printable(scaling) + ", factor " + std::to_string(std::max(factor, linear)) + ") is not supported");
  }
  const GgufTensor* factors = find_tensor(file, "rope_freqs.weight");
  if (factors == nullptr) return;
  const auto trivial = [&] {
    if (factors->type != DType::kF32) return false;
    std::vector<float> values(factors->bytes / sizeof(float));
    dequantize_row(DType::kF32, file.bytes().data() + factors->offset, values.data(), values.size());
    return std::all_of(values.begin(), values.end(), [](float v) { return v == 1.0f; });
  };
  if (factors->bytes > 16384 || !trivial())
    reject(what, "tensor rope_freqs.weight: RoPE frequency factors (Llama 3.1 scaling) are not supported");
}

bool names_gritlm(const std::string& name) {
  std::string lower(name);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return lower.find("gritlm") != std::string::npos;
}

// Ids outside the vocabulary (also 2^32 - 1, the unsigned form of -1) mean "none".
TokenId token_id(const GgufFile& file, const char* key, std::size_t vocab) {
  const auto id = file.unsigned_integer(key);
  return id && *id < vocab ? static_cast<TokenId>(*id) : -1;
}

}  // namespace

ModelConfig gguf_config(const GgufFile& file, const std::string& what) {
  if (file.unsigned_integer("split.count").value_or(1) > 1) {
    reject(what, "one part of a split model; merge the parts first (llama-gguf-split --merge)");
  }
  const auto architecture = file.text("general.architecture");
  if (!architecture) reject(what, "metadata key general.architecture is missing");
  if (*architecture != "olmoe" && *architecture != "llama") {
    reject(what, "architecture \"" + printable(*architecture) + "\" is not supported (olmoe, llama)");
  }
  const bool olmoe = *architecture == "olmoe";
  const Keys keys{file, what, *architecture + "."};

  ModelConfig c;
  c.architecture = olmoe ? Architecture::kOlmoe : Architecture::kLlama;
  c.name = file.text("general.name").value_or("");
  c.layers = keys.required_size("block_count");
  c.hidden = keys.required_size("embedding_length");
  c.heads = keys.required_size("attention.head_count");
  c.kv_heads = keys.size("attention.head_count_kv").value_or(c.heads);
  c.ffn = keys.required_size("feed_forward_length");  // llama.cpp's converter writes the expert width here for olmoe
  c.context = keys.required_size("context_length");
  c.experts = keys.size("expert_count").value_or(0);
  c.experts_used = keys.size("expert_used_count").value_or(0);
  if (const auto width = keys.size("expert_feed_forward_length"); width && olmoe) c.ffn = *width;

  if (c.heads == 0 || c.heads > 1024) reject(what, "number of heads is " + std::to_string(c.heads));
  const auto key_length = keys.size("attention.key_length");
  if (!key_length && c.hidden % c.heads != 0) {
    reject(what, "hidden size " + std::to_string(c.hidden) + " cannot be split into " + std::to_string(c.heads) + " heads");
  }
  c.head_dim = key_length.value_or(c.hidden / c.heads);
  if (keys.size("attention.value_length").value_or(c.head_dim) != c.head_dim)
    reject(what, "keys and values of different widths are not supported");
  if (keys.size("rope.dimension_count").value_or(c.head_dim) != c.head_dim) {
    reject(what, "RoPE over " + std::to_string(*keys.size("rope.dimension_count")) + " of " + std::to_string(c.head_dim) +
                     " dimensions is not supported");
  }
  c.rope_theta = keys.number("rope.freq_base").value_or(10000.0f);
  // llama.cpp's converter permutes the q and k rows of llama models so that pairs are neighbours; olmoe keeps Hugging Face's order.
  c.rope_style = olmoe ? RopeStyle::kNeox : RopeStyle::kInterleaved;
  check_rope_scaling(file, keys, what);
  const auto eps = keys.number("attention.layer_norm_rms_epsilon");
  if (!eps) reject(what, "metadata key " + keys.prefix + "attention.layer_norm_rms_epsilon is missing");
  c.rms_norm_eps = *eps;
  c.qk_norm = olmoe;
  c.norm_topk_prob = file.boolean(keys.prefix + "expert_weights_norm").value_or(false);
  c.clip_qkv = keys.number("attention.clamp_kqv").value_or(0.0f);
  // A sliding window changes nothing as long as no more tokens than it holds are used.
  if (const auto window = keys.size("attention.sliding_window"); window && *window > 0) c.context = std::min(c.context, *window);

  const GgufTensor* embedding = find_tensor(file, "token_embd.weight");
  if (embedding == nullptr || embedding->dims.size() != 2) reject(what, "tensor token_embd.weight is missing or no matrix");
  c.vocab = embedding->dims[1];
  c.tied_embeddings = find_tensor(file, "output.weight") == nullptr;

  c.bos = token_id(file, "tokenizer.ggml.bos_token_id", c.vocab);
  c.eos = token_id(file, "tokenizer.ggml.eos_token_id", c.vocab);
  c.pad = token_id(file, "tokenizer.ggml.padding_token_id", c.vocab);
  c.chat_template = file.text("tokenizer.chat_template").value_or("");
  const auto tuning = file.text("gritstone.tuning");
  c.grit_tuned = tuning ? *tuning == "grit" : names_gritlm(c.name);
  check_config(c, what);
  return c;
}

GgufVocab gguf_vocab(const GgufFile& file, const std::string& what) {
  GgufVocab vocab;
  const auto model = file.text("tokenizer.ggml.model");
  if (!model) reject(what, "metadata key tokenizer.ggml.model is missing: the file has no tokenizer");
  vocab.model = *model;
  vocab.pre = file.text("tokenizer.ggml.pre").value_or("");
  file.read_strings("tokenizer.ggml.tokens", vocab.tokens);
  file.read_integers("tokenizer.ggml.token_type", vocab.token_type);
  file.read_strings("tokenizer.ggml.merges", vocab.merges);
  file.read_floats("tokenizer.ggml.scores", vocab.scores);
  const auto id = [&file](const char* key) -> std::optional<std::uint32_t> {
    const auto value = file.unsigned_integer(key);
    if (!value || *value >= 0xFFFFFFFFu) return std::nullopt;
    return static_cast<std::uint32_t>(*value);
  };
  vocab.bos_token_id = id("tokenizer.ggml.bos_token_id");
  vocab.eos_token_id = id("tokenizer.ggml.eos_token_id");
  vocab.eot_token_id = id("tokenizer.ggml.eot_token_id");
  vocab.padding_token_id = id("tokenizer.ggml.padding_token_id");
  vocab.unknown_token_id = id("tokenizer.ggml.unknown_token_id");
  vocab.add_bos_token = file.boolean("tokenizer.ggml.add_bos_token");
  vocab.add_space_prefix = file.boolean("tokenizer.ggml.add_space_prefix");
  return vocab;
}

}  // namespace gritstone
