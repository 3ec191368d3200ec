// The options of retrieval that `search` and `ask` share.
#pragma once

#include <cstddef>
#include <string>

#include "apps/cli_session.h"
#include "index/store.h"
#include "retriever/search.h"

namespace gritstone {

struct SearchFlags {
  std::size_t k = 10;
  std::string mode = "fused";
  std::string filter;
  std::string fusion = "convex";
  double dense_weight = -1;  // below 0: the collection's
  std::size_t per_document = 3;
  bool duplicates = false;
  std::size_t rerank = 0;
  double rerank_weight = kRerankWeight;

  // Throws Error(kInvalidArgument) for unknown words.
  SearchOptions search_options(CliSession& session, const CollectionInfo& info) const;
};

// `flags` must outlive the parse; k_help describes -k.
void add_search_flags(CLI::App& command, SearchFlags& flags, const std::string& k_help);

}  // namespace gritstone
