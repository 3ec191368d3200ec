// What ways of asking were measured to be worth, for choosing among those that start in time.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/kv_span.h"
#include "generator/prompt_format.h"
#include "index/store.h"
#include "pipelines/model_parts.h"
#include "pipelines/reuse_policy.h"
#include "retriever/search.h"

namespace gritstone {

struct QualityEntry {
  SearchMode mode = SearchMode::kFused;
  std::size_t k = 5;               // passages asked for; BM25's best two come on top in the other modes
  std::size_t passage_tokens = 0;  // of every passage at most, its nearest sentences; 0: whole passages
  ReusePolicy reuse;  // kExact stands for kNone too: the answers are the same; in a borrowed table kChunks for all that compose
  KvType span_type = KvType::kInt8;
  PromptLayout layout = PromptLayout::kDocsFirst;
  // The table's own: mean F1 over the answerable questions. A borrowed table: the share of them whose gold answer stands in the passages,
  // which depends on what is found, not on who reads it.
  double value = 0;
  std::size_t n = 0;  // questions
};

std::string quality_entry_name(const QualityEntry& entry);  // "chunks/int8, 3 passages of at most 128 tokens, bm25"

// Whether both are measurements of the same way of asking.
bool same_way(const QualityEntry& a, const QualityEntry& b);

struct QualityTable {
  bool own = false;    // measured on this collection, with this model; else borrowed from another one
  std::string source;  // what was asked, and how: values are compared within one source only
  std::vector<QualityEntry> entries;
};

// Where nothing was measured: how often the gold answer of a sample question stands in what is put before the model
// (docs/results/budget.md). How well another model answers from it is not known; that it cannot answer from what is not there is.
QualityTable default_quality_table();

// The collection's own, where `eval qa --save-quality` measured it with this model and layout, else the default.
QualityTable quality_table_for(const Store& store, const CollectionInfo& collection, const ModelParts& model, PromptLayout layout);

// `measured` and, where both have the same source, what `before` knows of other ways of asking.
QualityTable merge_quality_tables(QualityTable measured, const QualityTable& before);

std::string quality_table_to_json(const QualityTable& table);
// Throws Error(kDamagedData).
QualityTable quality_table_from_json(std::string_view json);

}  // namespace gritstone
