#include "model/files/gguf_metadata.h"

#include <string>

#include "base/error.h"

namespace gritstone {
namespace {

// llama.cpp's LLAMA_FTYPE numbers for files that are mostly of one type.
std::uint32_t file_type(DType type) noexcept {
  switch (type) {
    case DType::kF32:
      return 0;
    case DType::kF16:
      return 1;
    case DType::kQ4_0:
      return 2;
    case DType::kQ4_1:
      return 3;
    case DType::kQ8_0:
      return 7;
    case DType::kQ5_0:
      return 8;
    case DType::kQ5_1:
      return 9;
    case DType::kQ2_K:
      return 10;
    case DType::kQ3_K:
      return 11;
    case DType::kQ4_K:
      return 14;
    case DType::kQ5_K:
      return 16;
    case DType::kQ6_K:
      return 18;
    case DType::kBF16:
      return 32;
  }
  return 0;
}

std::uint32_t u32(std::size_t value) noexcept { return static_cast<std::uint32_t>(value); }

}  // namespace

void write_file_type(GgufWriter& writer, DType type) {
  writer.add_u32("general.file_type", file_type(type));
  writer.add_u32("general.quantization_version", 2);
}

void write_config(GgufWriter& writer, const ModelConfig& config, DType type) {
  const bool olmoe = config.architecture == Architecture::kOlmoe;
  const std::string architecture = olmoe ? "olmoe" : "llama";
  const auto key = [&architecture](const char* name) { return architecture + "." + name; };
  writer.add_string("general.architecture", architecture);
  writer.add_string("general.name", config.name);
  write_file_type(writer, type);
  writer.add_u32(key("block_count"), u32(config.layers));
  writer.add_u32(key("context_length"), u32(config.context));
  writer.add_u32(key("embedding_length"), u32(config.hidden));
  writer.add_u32(key("feed_forward_length"), u32(config.ffn));
  writer.add_u32(key("attention.head_count"), u32(config.heads));
  writer.add_u32(key("attention.head_count_kv"), u32(config.kv_heads));
  writer.add_f32(key("attention.layer_norm_rms_epsilon"), config.rms_norm_eps);
  if (config.head_dim * config.heads != config.hidden) {
    writer.add_u32(key("attention.key_length"), u32(config.head_dim));
    writer.add_u32(key("attention.value_length"), u32(config.head_dim));
  }
  writer.add_u32(key("rope.dimension_count"), u32(config.head_dim));
  writer.add_f32(key("rope.freq_base"), config.rope_theta);
  writer.add_u32(key("vocab_size"), u32(config.vocab));
  if (olmoe) {
    writer.add_u32(key("expert_count"), u32(config.experts));
    writer.add_u32(key("expert_used_count"), u32(config.experts_used));
    writer.add_bool(key("expert_weights_norm"), config.norm_topk_prob);
    if (config.clip_qkv > 0.0f) writer.add_f32(key("attention.clamp_kqv"), config.clip_qkv);
  }
  if (config.grit_tuned) writer.add_string("gritstone.tuning", "grit");
  if (!config.chat_template.empty()) writer.add_string("tokenizer.chat_template", config.chat_template);
}

void write_vocab(GgufWriter& writer, GgufVocab vocab, std::size_t rows) {
  constexpr std::int32_t kUnused = 5;
  constexpr std::int32_t kNormal = 1;
  if (vocab.tokens.size() > rows) {
    throw Error(ErrorCode::kModelRejected, "the tokenizer has " + std::to_string(vocab.tokens.size()) + " tokens, the embedding matrix " +
                                               std::to_string(rows) + " rows");
  }
  vocab.token_type.resize(vocab.tokens.size(), kNormal);
  while (vocab.tokens.size() < rows) {
    vocab.tokens.push_back("[PAD" + std::to_string(vocab.tokens.size()) + "]");
    vocab.token_type.push_back(kUnused);
  }
  writer.add_string("tokenizer.ggml.model", vocab.model);
  if (!vocab.pre.empty()) writer.add_string("tokenizer.ggml.pre", vocab.pre);
  writer.add_strings("tokenizer.ggml.tokens", vocab.tokens);
  writer.add_i32s("tokenizer.ggml.token_type", vocab.token_type);
  if (!vocab.merges.empty()) writer.add_strings("tokenizer.ggml.merges", vocab.merges);
  if (!vocab.scores.empty()) {
    vocab.scores.resize(rows, vocab.scores.back());
    writer.add_f32s("tokenizer.ggml.scores", vocab.scores);
  }
  const auto add_id = [&writer](const char* key, const std::optional<std::uint32_t>& id) {
    if (id) writer.add_u32(key, *id);
  };
  add_id("tokenizer.ggml.bos_token_id", vocab.bos_token_id);
  add_id("tokenizer.ggml.eos_token_id", vocab.eos_token_id);
  add_id("tokenizer.ggml.eot_token_id", vocab.eot_token_id);
  add_id("tokenizer.ggml.padding_token_id", vocab.padding_token_id);
  add_id("tokenizer.ggml.unknown_token_id", vocab.unknown_token_id);
  if (vocab.add_bos_token) writer.add_bool("tokenizer.ggml.add_bos_token", *vocab.add_bos_token);
  if (vocab.add_space_prefix) writer.add_bool("tokenizer.ggml.add_space_prefix", *vocab.add_space_prefix);
}

void write_no_vocab(GgufWriter& writer, const ModelConfig& config) {
  writer.add_string("tokenizer.ggml.model", "none");
  const auto add_id = [&writer](const char* key, TokenId id) {
    if (id >= 0) writer.add_u32(key, static_cast<std::uint32_t>(id));
  };
  add_id("tokenizer.ggml.bos_token_id", config.bos);
  add_id("tokenizer.ggml.eos_token_id", config.eos);
  add_id("tokenizer.ggml.padding_token_id", config.pad);
}

}  // namespace gritstone
