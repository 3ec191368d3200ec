// Hyperparameters of a model, read from GGUF metadata or config.json and validated.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "model/token.h"

namespace gritstone {

enum class Architecture { kOlmoe, kLlama };

// Which elements RoPE rotates together: kNeox pairs (i, i + head_dim/2); kInterleaved pairs (2i, 2i+1), which is how llama-family GGUFs
// store q and k rows (their converter permutes them).
enum class RopeStyle { kNeox, kInterleaved };

struct ModelConfig {
  Architecture architecture = Architecture::kOlmoe;
  std::string name;  // general.name or the directory's name
  std::size_t layers = 0;
  std::size_t hidden = 0;
  std::size_t heads = 0;
  std::size_t kv_heads = 0;
  std::size_t head_dim = 0;
  std::size_t ffn = 0;      // width of a dense FFN, or of one expert
  std::size_t experts = 0;  // 0: dense
  std::size_t experts_used = 0;
  std::size_t vocab = 0;
  std::size_t context = 0;
  float rope_theta = 10000.0f;
  RopeStyle rope_style = RopeStyle::kNeox;
  float rms_norm_eps = 1e-5f;
  bool qk_norm = false;          // RMSNorm over the whole q and k vectors (olmoe)
  bool norm_topk_prob = false;   // renormalise the chosen experts' weights to sum 1
  bool tied_embeddings = false;  // the output matrix is the embedding matrix
  float clip_qkv = 0.0f;         // 0: off; else q, k, v are clamped to [-clip, clip]
  TokenId bos = -1, eos = -1, pad = -1;
  std::string chat_template;  // Jinja source, empty if the file has none; only used to recognise the prompt format
  bool grit_tuned = false;    // the file says that it was tuned for embedding (gritstone.tuning = "grit")

  std::size_t q_width() const noexcept { return heads * head_dim; }
  std::size_t kv_width() const noexcept { return kv_heads * head_dim; }
};

}  // namespace gritstone
