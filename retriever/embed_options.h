// How a text becomes one vector: the choices that a collection's manifest records.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "model/job.h"
#include "model/model_config.h"

namespace gritstone {

enum class Pooling {
  kMean,          // GRIT's own; bidirectional attention
  kWeightedMean,  // weights 1..n; causal attention, so that the embedding pass is also the KV pass
  kLast,          // hidden state of the last token of a PromptEOL prompt
  kEcho,          // the text twice, mean over the second copy, whose tokens have seen the whole text (Springer et al. 2024)
  kRouting,       // router probabilities of the last token in every layer (MoEE, Li & Zhou 2024); experimental
};

enum class EmbedFormat {
  kGrit,  // <bos><|user|>\n{instruction}\n<|embed|>\n{text}
  kRaw,   // the text alone
};

// Throw Error(kInvalidArgument) naming the choices.
Pooling parse_pooling(std::string_view name);           // mean, weighted-mean, last, echo, routing
Attention parse_attention(std::string_view name);       // causal, bidirectional
EmbedFormat parse_embed_format(std::string_view name);  // grit, raw
std::string_view pooling_name(Pooling pooling) noexcept;
std::string_view attention_name(Attention attention) noexcept;
std::string_view embed_format_name(EmbedFormat format) noexcept;

struct EmbedOptions {
  EmbedFormat format = EmbedFormat::kGrit;
  Pooling pooling = Pooling::kMean;
  Attention attention = Attention::kBidirectional;
  std::optional<std::size_t> layer;  // hidden state after this layer, 1..layers; absent: the last
  std::size_t max_tokens = 512;      // GRIT's training length
  std::string query_instruction;     // used where a query brings none of its own
};

// What suits the model file: bidirectional mean with a retrieval instruction where it says that it was GRIT-tuned; otherwise causal
// weighted mean without one (an instruction an untuned model never learnt only moves queries away from documents).
EmbedOptions default_embed_options(const ModelConfig& config);

// Throws Error(kInvalidArgument) for a layer outside the model, routing without experts, max_tokens 0.
void validate(const EmbedOptions& options, const ModelConfig& config);

// Columns of an embedding.
std::size_t embedding_dim(const EmbedOptions& options, const ModelConfig& config) noexcept;

}  // namespace gritstone
