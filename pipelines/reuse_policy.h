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
  // GRIT's caching variants (Muennighoff et al. 2024, section 4): states of bidirectional embedding passes in front of the paper's prompt.
  kGritDoc,       // of the passage
  kGritQuery,     // of the question
  kGritDocQuery,  // of both, passage first; neither has seen the other and both begin at position 0
  kGritQueryDoc,
};

struct ReusePolicy {
  ReuseKind kind = ReuseKind::kNone;
  std::size_t first_tokens = 0;  // kFirst: of every passage
  double fraction = 0;           // kBlend: of all passage tokens, in (0, 1]
  bool automatic = false;        // kind stands for what is used where no certificate says better (pipelines/certificate.h)

  bool grit() const noexcept {
    return kind == ReuseKind::kGritDoc || kind == ReuseKind::kGritQuery || kind == ReuseKind::kGritDocQuery ||
           kind == ReuseKind::kGritQueryDoc;
  }
  // Answers may differ from those of kNone.
  bool approximate() const noexcept { return composes() || grit(); }
  bool composes() const noexcept { return kind == ReuseKind::kChunks || kind == ReuseKind::kFirst || kind == ReuseKind::kBlend; }
};

// "none", "exact", "chunks", "first=K", "blend=R", "grit-doc", "grit-query", "grit-doc-query", "grit-query-doc", "auto" (automatic, kind
// kExact).
// Throws Error(kInvalidArgument) naming the choices.
ReusePolicy parse_reuse(std::string_view text);
std::string reuse_name(const ReusePolicy& policy);  // "blend=0.15"

}  // namespace gritstone
