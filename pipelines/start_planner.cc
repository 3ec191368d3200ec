#include "pipelines/start_planner.h"

#include <algorithm>

#include "base/error.h"

namespace gritstone {

StartChoice choose_start(std::span<const StartOption> options, double seconds) noexcept {
  const auto faster = [](const StartOption& a, const StartOption& b) { return a.seconds < b.seconds; };
  const auto worse = [&](const StartOption& a, const StartOption& b) {
    return a.entry->f1 != b.entry->f1 ? a.entry->f1 < b.entry->f1 : faster(b, a);
  };
  StartChoice choice;
  for (std::size_t i = 0; i < options.size(); ++i) {
    const bool fits = options[i].seconds <= seconds;
    const StartOption& best = options[choice.option];
    if (fits && (!choice.fits || worse(best, options[i]))) choice = {i, true};
    if (!fits && !choice.fits && faster(options[i], best)) choice.option = i;
  }
  return choice;
}

void fit_retrieval(SearchOptions& search, const StartBudget& budget, std::size_t query_tokens, std::size_t chunk_tokens,
                   bool has_all_vectors) {
  if (search.mode == SearchMode::kBm25) return;
  const StartCosts& costs = *budget.costs;
  const double share = budget.ms / 1e3 / 3 / costs.cautious();
  const double left = share - costs.search_seconds(search.mode) - costs.pass_seconds(query_tokens);
  if (left < 0 && search.mode == SearchMode::kFused) {
    search.mode = SearchMode::kBm25;
    return;
  }
  if (has_all_vectors) return;
  std::size_t affordable = 0;
  while (affordable < search.embed_on_demand && costs.pass_seconds((affordable + 1) * chunk_tokens) <= left) ++affordable;
  search.embed_on_demand = affordable;
}

}  // namespace gritstone
