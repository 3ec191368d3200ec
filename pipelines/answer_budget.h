// The choice an answer makes when its first token has to come within a time.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <span>

#include "pipelines/answer.h"
#include "pipelines/answer_prompt.h"

namespace gritstone {

// What answer() knows when it has retrieved. Borrows everything.
struct BudgetSituation {
  const ModelParts& model;
  const CollectionInfo& collection;
  const AnswerOptions& options;  // with `budget`
  std::span<const SearchHit> hits;
  SearchMode mode;                         // they were found by
  std::span<const ChunkId> best_by_words;  // BM25's best, in order; always among the hits
  double retrieval_ms = 0;                 // gone since answer() was called
  std::function<AnswerPrompt(std::span<const std::size_t> selected, std::size_t passage_tokens)> prompt_of;
};

struct BudgetChoice {
  AnswerPrompt prompt;  // what was found and not chosen is among its dropped passages
  ReusePolicy policy;
  BudgetReport report;
  double estimated_seconds = 0;  // from the choice to the first token, uncorrected (StartCosts::saw_start)
};

// Absent if the table has no entry that this question may use, or none of them leaves a passage.
std::optional<BudgetChoice> choose_within_budget(const BudgetSituation& situation);

}  // namespace gritstone
