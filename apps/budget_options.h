// A budget for the first token, from the command line.
#pragma once

#include "apps/cli_session.h"
#include "apps/reuse_options.h"
#include "index/store.h"
#include "pipelines/start_planner.h"

namespace gritstone {

// With the quality table that fits the collection. Measures this machine the first time, and says so.
StartBudget start_budget(CliSession& session, double ms, const Store& store, const CollectionInfo& collection, const ModelParts& parts,
                         StartCosts& costs, PromptLayout layout);

}  // namespace gritstone
