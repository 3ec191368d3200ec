// The corpus of a judged data set as a collection.
#pragma once

#include <cstddef>
#include <functional>
#include <stop_token>
#include <string>

#include "index/store.h"
#include "pipelines/embedder_setup.h"
#include "pipelines/model_parts.h"
#include "pipelines/retrieval_data.h"

namespace gritstone {

struct EvalCorpusOptions {
  std::string collection;
  ChunkerOptions chunker;
  std::string language = "english";
  bool vectors = true;  // false: text and BM25 alone
  EmbedOverrides embed;
  std::function<void(std::string_view stage, std::size_t done, std::size_t total)> on_progress;
  std::stop_token stop;
};

struct EvalCorpusResult {
  double index_seconds = 0;  // text
  double embed_seconds = 0;
};

// Brings the collection up to date with the corpus; documents whose text it knows are left alone. Document ids become paths.
//   model  null: only without vectors
// Throws Error: kInvalidArgument if the collection holds files of a user's, which would go; as data.for_each_document, ingest() and
// resolve_manifest(); kCancelled.
EvalCorpusResult index_corpus(Store& store, const ModelParts* model, const RetrievalData& data, const EvalCorpusOptions& options);

}  // namespace gritstone
