// An answer scored again, token by token: what a reuse policy changes even where the words stay the same.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "pipelines/answer.h"

namespace gritstone {

// Logits [trace.ids.size(), vocab] of the tokens that were written, behind the prompt as `policy` composes it (teacher-forced).
//   options  cache (required unless the policy is kNone), span type, cancel
// Throws what the engine throws.
std::vector<float> score_trace(const ModelParts& model, const CollectionInfo& collection, const AnswerTrace& trace,
                               const ReusePolicy& policy, const AnswerOptions& options);

// How far two models of the next token are apart.
struct TokenAgreement {
  std::vector<double> kl;    // nats, reference against other; one per token
  std::size_t same_top = 0;  // tokens whose most likely continuation is the same

  // reference, other: [tokens, vocab] logits of the same tokens.
  void add(std::span<const float> reference, std::span<const float> other, std::size_t vocab);
};

}  // namespace gritstone
