#include "pipelines/start_planner.h"

#include <algorithm>

#include "base/error.h"

namespace gritstone {

StartChoice choose_start(std::span<const StartOption> options, double seconds) noexcept {
  const auto faster = [](const StartOption& a, const StartOption& b) { return a.seconds < b.seconds; };
  const auto worse = [&](const StartOption& a, const StartOption& b) {
    return a.entry->value != b.entry->value ? a.entry->value < b.entry->value : faster(b, a);
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
  const StartCosts& costs = *budget.costs;
  const double share = budget.ms / 1e3 / 3 / costs.cautious();
  double left = share - costs.search_seconds(search.mode);
  // Passes over so many passages, at most `wanted`, that fit into what is left; takes their time from it.
  const auto affordable = [&](std::size_t wanted, std::size_t tokens) {
    std::size_t n = 0;
    while (n < wanted && costs.pass_seconds((n + 1) * tokens) <= left) ++n;
    left -= costs.pass_seconds(n * tokens);
    return n;
  };
  if (search.mode != SearchMode::kBm25) {
    if (left < costs.pass_seconds(query_tokens) && search.mode == SearchMode::kFused) {
      search.mode = SearchMode::kBm25;
      left = share - costs.search_seconds(SearchMode::kBm25);
    } else {
      left -= costs.pass_seconds(query_tokens);
      if (!has_all_vectors) search.embed_on_demand = affordable(search.embed_on_demand, chunk_tokens);
    }
  }
  // As if no passage's states were cached.
  search.rerank = affordable(search.rerank, chunk_tokens + query_tokens);
}

}  // namespace gritstone
