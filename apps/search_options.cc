#include "apps/search_options.h"

#include <CLI/CLI.hpp>

#include "apps/paths.h"
#include "pipelines/embedder_setup.h"

namespace gritstone {

SearchOptions SearchFlags::search_options(CliSession& session, const CollectionInfo& info) const {
  SearchOptions options;
  options.mode = parse_search_mode(mode);
  options.k = k;
  options.filter = parse_filter(filter);
  // Documents are stored under absolute paths; "docs/*" means those below the working directory, "*/docs/*" and "/srv/*" what they say.
  for (std::string& path : options.filter.paths) {
    if (!path.empty() && path.front() != '/' && path.front() != '*' && path.front() != '?' && path.front() != '[')
      path = absolute_path(path);
  }
  options.fusion = parse_fusion(fusion);
  options.dense_weight = dense_weight < 0 ? default_dense_weight(info) : dense_weight;
  options.max_per_document = per_document;
  options.collapse_duplicates = !duplicates;
  options.rerank = rerank;
  options.rerank_weight = rerank_weight;
  options.placement = &session.placement();
  options.cancel = session.stop();
  return options;
}

void add_search_flags(CLI::App& command, SearchFlags& flags, const std::string& k_help) {
  const char* group = "Search";
  command.add_option("-k", flags.k, k_help)->capture_default_str()->check(CLI::PositiveNumber)->group(group);
  command.add_option("--mode", flags.mode, "fused, dense (by meaning) or bm25 (by words)")->capture_default_str()->group(group);
  command.add_option("--filter", flags.filter, "path:GLOB type:md after:2024-01-31 before:... KEY=VALUE")->group(group);
  command.add_option("--fusion", flags.fusion, "How fused joins both rankings: convex or rrf")->capture_default_str()->group(group);
  command.add_option("--dense-weight", flags.dense_weight, "Weight of meaning in convex fusion, 0 to 1 [the collection's]")
      ->check(CLI::Range(0.0, 1.0))
      ->group(group);
  command.add_option("--per-document", flags.per_document, "At most so many passages a document; 0: no limit")
      ->capture_default_str()
      ->group(group);
  command
      .add_option("--rerank", flags.rerank,
                  "Orders the best so many passages again by how likely the model finds the question after them; 0: not")
      ->capture_default_str()
      ->group(group);
  command.add_option("--rerank-weight", flags.rerank_weight, "Weight of that likelihood beside the first score, 0 to 1")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str()
      ->group(group);
  command.add_flag("--duplicates", flags.duplicates, "Keeps near duplicates")->group(group);
}

}  // namespace gritstone
