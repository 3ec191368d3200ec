// Which passages fit into the model's context. Nothing is cut: a passage is in whole or is reported as dropped.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace gritstone {

struct BudgetItem {
  std::size_t tokens = 0;
  bool required = false;  // taken before the others, e.g. BM25's best two
};

struct BudgetResult {
  std::vector<std::size_t> kept;     // indexes, ascending: the items' own (rank) order stays
  std::vector<std::size_t> dropped;  // ascending
  std::size_t used = 0;              // tokens of `fixed` and the kept items
};

// Takes required items in order, then the others in order, each if it still fits; a later, shorter one may fit where an earlier did not.
//   context  slots of the model            fixed  tokens always in the prompt (head, question, glue)
//   reserve  tokens kept free for the answer
// Throws Error(kInvalidArgument) with the numbers if fixed + reserve exceed the context.
BudgetResult fit_context(std::size_t context, std::size_t fixed, std::size_t reserve, std::span<const BudgetItem> items);

}  // namespace gritstone
