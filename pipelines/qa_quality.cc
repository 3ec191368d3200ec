#include "pipelines/qa_quality.h"

#include <algorithm>

#include "base/error.h"

namespace gritstone {

QualityTable quality_table_from(const std::vector<QaSummary>& summaries, const std::vector<QaConfig>& grid, std::string source) {
  GS_CHECK(summaries.size() == grid.size());
  QualityTable table;
  table.own = true;
  table.source = std::move(source);
  for (const bool exact : {true, false}) {
    for (std::size_t i = 0; i < grid.size(); ++i) {
      const QaConfig& config = grid[i];
      const QaSummary& summary = summaries[i];
      if ((config.reuse.kind == ReuseKind::kExact) != exact) continue;
      if (!config.retrieval.source.empty() || config.ttft_budget > 0 || config.reuse.grit() || summary.answerable == 0) continue;
      QualityEntry entry{config.retrieval.mode, config.k,   config.passage_tokens, config.reuse, config.span_type,
                         config.layout,         summary.f1, summary.answerable};
      if (config.reuse.kind == ReuseKind::kNone) entry.reuse = {ReuseKind::kExact};
      if (!entry.reuse.composes()) entry.span_type = KvType::kInt8;
      const auto same = [&](const QualityEntry& other) { return same_way(other, entry); };
      if (std::ranges::none_of(table.entries, same)) table.entries.push_back(entry);
    }
  }
  return table;
}

}  // namespace gritstone
