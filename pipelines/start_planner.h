// Which way of asking gives the best expected answer among those whose first token comes in time.
#pragma once

#include <cstddef>
#include <span>

#include "pipelines/quality_table.h"
#include "pipelines/start_costs.h"

namespace gritstone {

// What a caller gives to answer() (AnswerOptions::budget).
struct StartBudget {
  double ms = 0;                // from the call of answer() to the first token
  StartCosts* costs = nullptr;  // borrowed, measured
  QualityTable table;
};

struct StartOption {
  const QualityEntry* entry = nullptr;
  double seconds = 0;  // estimated, uncorrected
};

struct StartChoice {
  std::size_t option = 0;
  bool fits = false;  // false: none does, and this is the fastest
};

// The option worth most of those that take at most `seconds`, the faster of equal ones. REQUIRES: options is not empty.
StartChoice choose_start(std::span<const StartOption> options, double seconds) noexcept;

// What retrieval may do within the budget: it leaves two thirds to the answer, or a question would be found everything and told nothing.
// Lowers embed_on_demand and the depth of reranking, and turns to BM25 if not even the question can be embedded in time.
//   query_tokens  of the question with its embedding prefix   chunk_tokens  of a passage, on average
void fit_retrieval(SearchOptions& search, const StartBudget& budget, std::size_t query_tokens, std::size_t chunk_tokens,
                   bool has_all_vectors);

// Seen from the answer: what was chosen, and whether the word was kept.
struct BudgetReport {
  double budget_ms = 0;
  QualityEntry chosen;
  std::size_t passages = 0;  // before the model
  double retrieval_ms = 0;   // gone when the choice was made
  double expected_ms = 0;    // to the first token, from the call; typical
  double cautious_ms = 0;    // the 95th percentile
  bool fits = false;         // said before the first token
  bool own_table = false;
  std::size_t considered = 0;
  double actual_ms = 0;  // 0: nothing was generated
  bool kept = false;
};

}  // namespace gritstone
