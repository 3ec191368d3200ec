#include "apps/budget_options.h"

namespace gritstone {

StartBudget start_budget(CliSession& session, double ms, const Store& store, const CollectionInfo& collection, const ModelParts& parts,
                         StartCosts& costs, PromptLayout layout) {
  if (!costs.measured()) {
    session.note("Measuring how fast this machine is with this model; it is done once");
    costs.measure(parts.engine(), session.stop());
    costs.save();
  }
  return {ms, &costs, quality_table_for(store, collection, parts, layout)};
}

}  // namespace gritstone
