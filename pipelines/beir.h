// A BEIR data set on disk.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include "pipelines/retrieval_metrics.h"

namespace gritstone {

struct BeirDocument {
  std::string id;
  std::string title;
  std::string text;
};

// Visits the documents of DIR/corpus.jsonl in file order. Throws Error: kNotFound; kInvalidArgument naming the line (not JSON, no "_id").
void for_each_beir_document(const std::filesystem::path& directory, const std::function<void(const BeirDocument&)>& visit);
// DIR/queries.jsonl: text by id. Throws as above.
std::map<std::string, std::string> read_beir_queries(const std::filesystem::path& directory);
// DIR/qrels/<split>.tsv; an empty split means test, or the only file there is. Throws Error(kNotFound) naming the splits there are.
Judgements read_beir_judgements(const std::filesystem::path& directory, const std::string& split);

}  // namespace gritstone
