// What an indexing run will take, before it starts.
#pragma once

#include <span>

#include "index/file_walker.h"
#include "pipelines/ingest.h"

namespace gritstone {

// documents: what the collection holds now, by path. embedder: null if no vectors follow in this run.
// With more than some 20,000 tokens to embed, one text is embedded first to measure this machine (under a second for OLMoE on two cores);
// with fewer, the speed is guessed from the model's size and the threads. How fast a service embeds is not known before: its time is left
// out.
IngestEstimate estimate_ingest(std::span<const FoundFile> files, const std::map<std::string, DocumentRecord>& documents,
                               const CollectionInfo& collection, const ModelParts* model, const EmbedderManifest* manifest);

}  // namespace gritstone
