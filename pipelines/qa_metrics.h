// Is an answer right? The measures of SQuAD, and what retrieval-augmented answers need besides.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gritstone {

// SQuAD's normalisation (Rajpurkar et al. 2016, evaluate-v1.1): lower case, ASCII punctuation dropped, the words a, an and the dropped,
// white space squeezed. Invalid UTF-8 becomes U+FFFD.
std::string normalise_answer(std::string_view text);

struct AnswerScore {
  double exact_match = 0;  // 1 if equal after normalisation
  double f1 = 0;           // of the words, as multisets
  bool contained = false;  // a gold answer's words stand in the answer, one behind the other
};

// The best over the gold answers. Without gold answers (an unanswerable question) only an empty answer scores, as in SQuAD 2.0.
//   against  answers that would be wrong: a gold answer counts as contained only where none of them stands in front of it
AnswerScore score_answer(std::string_view answer, std::span<const std::string> gold, std::span<const std::string> against = {});

}  // namespace gritstone
