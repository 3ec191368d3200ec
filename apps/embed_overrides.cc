#include "apps/embed_overrides.h"

#include <CLI/CLI.hpp>

namespace gritstone {

EmbedOverrides EmbedFlags::overrides() const {
  EmbedOverrides result;
  if (!pooling.empty()) result.pooling = parse_pooling(pooling);
  if (!attention.empty()) result.attention = parse_attention(attention);
  if (layer > 0) result.layer = layer;
  if (max_tokens > 0) result.max_tokens = max_tokens;
  if (!instruction.empty()) result.query_instruction = instruction;
  return result;
}

void add_embed_flags(CLI::App& command, EmbedFlags& flags) {
  const char* group = "Embedding";
  command.add_option("--pooling", flags.pooling, "mean, weighted-mean, last, echo or routing [what suits the model]")->group(group);
  command.add_option("--attention", flags.attention, "bidirectional or causal [what suits the pooling]")->group(group);
  command.add_option("--embed-layer", flags.layer, "Stops after this layer [the last]")->check(CLI::PositiveNumber)->group(group);
  command.add_option("--max-tokens", flags.max_tokens, "Longer texts are cut [512]")->check(CLI::PositiveNumber)->group(group);
}

}  // namespace gritstone
