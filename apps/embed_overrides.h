// The options that say how a new collection embeds.
#pragma once

#include <cstddef>
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

  // Throws Error(kInvalidArgument) for unknown words.
  EmbedOverrides overrides() const;
};

// Adds --pooling, --attention, --embed-layer, --max-tokens; `flags` must outlive the parse.
void add_embed_flags(CLI::App& command, EmbedFlags& flags);

}  // namespace gritstone
