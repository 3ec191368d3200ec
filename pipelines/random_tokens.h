// Token ids for passes that are only timed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "model/token.h"

namespace gritstone {

// `count` ids in [0, vocab), spread over the vocabulary so that the router of a mixture sees different tokens; the same for the same seed.
inline std::vector<TokenId> random_tokens(std::size_t count, std::size_t vocab, std::uint64_t seed) {
  std::vector<TokenId> ids(count);
  std::uint64_t state = seed;
  for (TokenId& id : ids) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    id = static_cast<TokenId>((state >> 33) % vocab);
  }
  return ids;
}

}  // namespace gritstone
