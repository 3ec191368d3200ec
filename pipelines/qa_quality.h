// From an evaluation's figures to the table that a budget chooses by.
#pragma once

#include <string>
#include <vector>

#include "pipelines/eval_qa.h"
#include "pipelines/quality_table.h"

namespace gritstone {

// Of the configs of the collection itself, without those that have a budget, are one of GRIT's variants or were not asked. kNone counts as
// kExact: the answers are the same; where both were asked, kExact's figure stands.
//   summaries  by config, in the grid's order    source  what was asked, and how
QualityTable quality_table_from(const std::vector<QaSummary>& summaries, const std::vector<QaConfig>& grid, std::string source);

}  // namespace gritstone
