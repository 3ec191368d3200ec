#include "generator/context_budget.h"

#include <string>

#include "base/error.h"

namespace gritstone {

BudgetResult fit_context(std::size_t context, std::size_t fixed, std::size_t reserve, std::span<const BudgetItem> items) {
  if (fixed > context || reserve > context - fixed) {
    throw Error(ErrorCode::kInvalidArgument, "the question needs " + std::to_string(fixed) + " tokens and the answer " +
                                                 std::to_string(reserve) + ", but the model's context is " + std::to_string(context));
  }
  BudgetResult result;
  result.used = fixed;
  std::size_t left = context - fixed - reserve;
  std::vector<bool> taken(items.size(), false);
  for (const bool required : {true, false}) {
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (items[i].required != required || items[i].tokens > left) continue;
      taken[i] = true;
      left -= items[i].tokens;
      result.used += items[i].tokens;
    }
  }
  for (std::size_t i = 0; i < items.size(); ++i) (taken[i] ? result.kept : result.dropped).push_back(i);
  return result;
}

}  // namespace gritstone
