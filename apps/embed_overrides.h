// The options that say how a new collection embeds.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "pipelines/embedder_setup.h"

namespace CLI {
class App;
}

namespace gritstone {

// What the command line said; empty or 0: not said.
struct EmbedFlags {
  std::string pooling;
  std::string attention;
  std::size_t layer = 0;
  std::size_t max_tokens = 0;
  std::string instruction;
  // Another embedder by URL.
  std::string embedder_model;
  std::optional<std::string> query_prefix, document_prefix;

  // url: of an embedder by URL, as --embedder-url gave it. Throws Error(kInvalidArgument) for unknown words.
  EmbedOverrides overrides(const std::string& url = {}) const;
};

// Adds --pooling, --attention, --embed-layer, --max-tokens; `flags` must outlive the parse.
void add_embed_flags(CLI::App& command, EmbedFlags& flags);
// Adds --embedder-model, --embedder-query-prefix, --embedder-document-prefix, for commands that make collections.
void add_embedder_flags(CLI::App& command, EmbedFlags& flags);

}  // namespace gritstone
