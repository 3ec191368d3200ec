#include "apps/embed_overrides.h"

#include <CLI/CLI.hpp>

namespace gritstone {

EmbedOverrides EmbedFlags::overrides(const std::string& url) const {
  EmbedOverrides result;
  if (!pooling.empty()) result.pooling = parse_pooling(pooling);
  if (!attention.empty()) result.attention = parse_attention(attention);
  if (layer > 0) result.layer = layer;
  if (max_tokens > 0) result.max_tokens = max_tokens;
  if (!instruction.empty()) result.query_instruction = instruction;
  if (!url.empty() || !embedder_model.empty() || query_prefix || document_prefix) {
    result.remote = EmbedOverrides::Remote{url, embedder_model, query_prefix, document_prefix};
  }
  return result;
}

void add_embed_flags(CLI::App& command, EmbedFlags& flags) {
  const char* group = "Embedding";
  command.add_option("--pooling", flags.pooling, "mean, weighted-mean, last, echo or routing [what suits the model]")->group(group);
  command.add_option("--attention", flags.attention, "bidirectional or causal [what suits the pooling]")->group(group);
  command.add_option("--embed-layer", flags.layer, "Stops after this layer [the last]")->check(CLI::PositiveNumber)->group(group);
  command.add_option("--max-tokens", flags.max_tokens, "Longer texts are cut [512]")->check(CLI::PositiveNumber)->group(group);
}

void add_embedder_flags(CLI::App& command, EmbedFlags& flags) {
  const char* group = "Embedder by URL";
  command.add_option("--embedder-model", flags.embedder_model, "The service's model; with --embedder-url it embeds instead of -m")
      ->group(group);
  command.add_option("--embedder-query-prefix", flags.query_prefix, "Put in front of queries, as that model was trained")->group(group);
  command.add_option("--embedder-document-prefix", flags.document_prefix, "Put in front of passages")->group(group);
}

}  // namespace gritstone
