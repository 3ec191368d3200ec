// Chooses the next token from the model's logits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "model/kernels/top_logits.h"
#include "model/token.h"

namespace gritstone {

// Neutral values switch a stage off. The stages run in this order, whatever order the caller set them in:
//   1. repetition penalty (on logits)   2. temperature 0: the largest logit, done
//   3. top-k   4. top-p   5. min-p      (on the model's own probabilities, so that raising the temperature never admits a token
//                                        that the truncation would have refused)
//   6. temperature   7. one draw
struct SamplerOptions {
  double temperature = 0.0;            // 0: greedy
  std::size_t top_k = 0;               // keep the k most likely; 0: off
  double top_p = 1.0;                  // smallest set whose probability reaches p; 1: off
  double min_p = 0.0;                  // keep tokens with at least p times the best one's probability; 0: off
  double repetition_penalty = 1.0;     // logit / p if positive, * p if negative (Keskar et al. 2019, CTRL); 1: off
  std::size_t repetition_window = 64;  // generated tokens it looks back on; 0: all of them
  std::uint64_t seed = 0;
};

// Throws Error(kInvalidArgument) naming the option: temperature < 0, top_p outside (0, 1], min_p outside [0, 1), repetition_penalty <= 0,
// or any of them not finite.
void validate(const SamplerOptions& options);

// One per generation; not thread-safe. The same options and logits give the same tokens on every machine with IEEE doubles and the same
// libm; ties go to the lower id.
class Sampler {
 public:
  // Throws as validate().
  explicit Sampler(const SamplerOptions& options);

  // logits: [vocab] f32, not modified. The chosen token counts towards the repetition penalty; the prompt's tokens do not, because an
  // answer must stay free to quote its passages.
  // Throws Error(kDevice) if no logit is finite.
  TokenId sample(std::span<const float> logits);

  // How many of a row's largest logits lead to the same choice as the whole row, in each of the next `draws` (at least 1) draws. Nothing
  // where all are needed, or more than kMaxTopLogits:
  //   - temperature without top-k: top-p and the draw itself add up all probabilities, and how many min-p keeps is not known before;
  //   - a repetition penalty below 1, which raises tokens that may be anywhere in the row.
  // A penalty above 1 only lowers: those it lowers may leave the top, so as many more are needed as there are different tokens in its
  // window.
  std::optional<std::size_t> needed_top(std::size_t draws = 1) const;
  // As above, from the row's largest logits as top_logits() gives them. REQUIRES: at least needed_top() of them.
  TokenId sample(std::span<const TopLogit> top);

 private:
  struct Candidate {
    TokenId id;
    double logit;
  };

  static bool before(const Candidate& a, const Candidate& b) { return a.logit != b.logit ? a.logit > b.logit : a.id < b.id; }
  TokenId greedy(std::span<const float> logits) const;
  TokenId draw();
  double penalised(TokenId id, float logit) const;
  void remember(TokenId id);
  double uniform();  // [0, 1), 53 bits

  SamplerOptions options_;
  std::uint64_t state_;
  std::deque<TokenId> recent_;
  std::unordered_map<TokenId, std::size_t> recent_counts_;
  std::vector<Candidate> candidates_;  // scratch, reused between calls
  std::vector<double> probabilities_;
};

}  // namespace gritstone
