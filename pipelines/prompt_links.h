// A prompt as the span cache sees it: a chain of links, and the passages.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "generator/prompt_format.h"

namespace gritstone {

// A stretch of the prompt that is one link of the prefix chain: the head (with the question, where that comes first), or a passage with its
// label. What follows the last passage is no link: it is computed in any case.
struct PromptLink {
  std::size_t first = 0, count = 0;  // tokens
  std::optional<std::size_t> passage;
  bool asked = false;  // holds the question, or stands behind it: worth keeping in this process, not on disk
};

struct PromptLinks {
  std::vector<PromptLink> links;  // from token 0, without gaps
  std::vector<PromptPiece> passages;
};

PromptLinks split_prompt(const Prompt& prompt);

}  // namespace gritstone
