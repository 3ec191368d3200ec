// How much of a prompt is taken from states that were computed before (docs/ARCHITECTURE.md, "One cache for both jobs").
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace gritstone {

enum class ReuseKind {
  kNone,    // everything is computed: the reference
  kExact,   // chained prefixes: the same tokens as kNone
  kChunks,  // every passage's own span; passages do not see each other
  kFirst,   // as kChunks, then the first tokens of every passage are computed again in their place (EPIC)
  kBlend,   // as kChunks, then the tokens that deviate most are computed again in their place (CacheBlend)
};

struct ReusePolicy {
  ReuseKind kind = ReuseKind::kNone;
  std::size_t first_tokens = 0;  // kFirst: of every passage
  double fraction = 0;           // kBlend: of all passage tokens, in (0, 1]
  bool automatic = false;        // kind stands for what is used where no certificate says better (pipelines/certificate.h)

  bool composes() const noexcept { return kind == ReuseKind::kChunks || kind == ReuseKind::kFirst || kind == ReuseKind::kBlend; }
};

// "none", "exact", "chunks", "first=K", "blend=R", "auto" (automatic, kind kExact).
// Throws Error(kInvalidArgument) naming the choices.
ReusePolicy parse_reuse(std::string_view text);
std::string reuse_name(const ReusePolicy& policy);  // "blend=0.15"

}  // namespace gritstone
