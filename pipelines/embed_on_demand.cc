#include "pipelines/embed_on_demand.h"

#include "base/error.h"
#include "retriever/manifest.h"

namespace gritstone {

std::size_t keep_embeddings(Store& store, const CollectionInfo& collection, const std::map<ChunkId, std::vector<float>>& rows) {
  if (rows.empty()) return 0;
  const auto job = store.begin_write();
  // Under the lock: what the rows were computed with may have changed since the question was asked.
  const auto now = store.find_collection(collection.name);
  if (!now || now->id != collection.id || now->manifest != collection.manifest) return 0;
  const auto manifest = manifest_from_json(now->manifest);
  if (!manifest || (manifest->wants_statistics && !manifest->statistics)) return 0;
  std::size_t kept = 0;
  for (const auto& [chunk, row] : rows) {
    try {
      job->put_embeddings(collection.name, std::span(&chunk, 1), MatrixView<const float>(row.data(), 1, row.size()));
      ++kept;
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kNotFound) throw;
    }
  }
  job->commit();
  return kept;
}

}  // namespace gritstone
