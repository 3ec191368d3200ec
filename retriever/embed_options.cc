#include "retriever/embed_options.h"

#include <array>
#include <utility>

#include "base/error.h"

namespace gritstone {
namespace {

constexpr std::array<std::pair<std::string_view, Pooling>, 5> kPoolings{{{"mean", Pooling::kMean},
                                                                         {"weighted-mean", Pooling::kWeightedMean},
                                                                         {"last", Pooling::kLast},
                                                                         {"echo", Pooling::kEcho},
                                                                         {"routing", Pooling::kRouting}}};
constexpr std::array<std::pair<std::string_view, Attention>, 2> kAttentions{
    {{"causal", Attention::kCausal}, {"bidirectional", Attention::kBidirectional}}};
constexpr std::array<std::pair<std::string_view, EmbedFormat>, 2> kFormats{{{"grit", EmbedFormat::kGrit}, {"raw", EmbedFormat::kRaw}}};

template <typename Table>
auto parse(const Table& table, std::string_view name, const char* what) {
  std::string choices;
  for (const auto& [known, value] : table) {
    if (known == name) return value;
    choices += (choices.empty() ? "" : ", ") + std::string(known);
  }
  throw Error(ErrorCode::kInvalidArgument, "unknown " + std::string(what) + " \"" + std::string(name) + "\", expected one of " + choices);
}

template <typename Table, typename Value>
std::string_view name_of(const Table& table, Value value) noexcept {
  for (const auto& [name, known] : table) {
    if (known == value) return name;
  }
  return "";
}

}  // namespace

Pooling parse_pooling(std::string_view name) { return parse(kPoolings, name, "pooling"); }
Attention parse_attention(std::string_view name) { return parse(kAttentions, name, "attention"); }
EmbedFormat parse_embed_format(std::string_view name) { return parse(kFormats, name, "format"); }
std::string_view pooling_name(Pooling pooling) noexcept { return name_of(kPoolings, pooling); }
std::string_view attention_name(Attention attention) noexcept { return name_of(kAttentions, attention); }
std::string_view embed_format_name(EmbedFormat format) noexcept { return name_of(kFormats, format); }

EmbedOptions default_embed_options(const ModelConfig& config) {
  EmbedOptions options;
  if (config.grit_tuned) {
    options.query_instruction = "Given a question, retrieve passages that answer the question";
  } else {
    options.pooling = Pooling::kWeightedMean;
    options.attention = Attention::kCausal;
  }
  return options;
}

void validate(const EmbedOptions& options, const ModelConfig& config) {
  if (options.layer && (*options.layer < 1 || *options.layer > config.layers)) {
    throw Error(ErrorCode::kInvalidArgument,
                "embedding layer " + std::to_string(*options.layer) + " is outside the model's 1.." + std::to_string(config.layers));
  }
  if (options.pooling == Pooling::kRouting && config.experts == 0) {
    throw Error(ErrorCode::kInvalidArgument,
                "pooling \"routing\" needs a mixture-of-experts model, but " + config.name + " has no experts");
  }
  if (options.max_tokens == 0) throw Error(ErrorCode::kInvalidArgument, "max_tokens is 0, expected at least 1");
}

std::size_t embedding_dim(const EmbedOptions& options, const ModelConfig& config) noexcept {
  if (options.pooling == Pooling::kRouting) return options.layer.value_or(config.layers) * config.experts;
  return config.hidden;
}

}  // namespace gritstone
