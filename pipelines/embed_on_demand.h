// Vectors that questions computed before `index` came to their passages (index --dense later).
#pragma once

#include <map>
#include <vector>

#include "index/store.h"

namespace gritstone {

// Stores rows computed by the collection's embedder, if they are as they would be stored by `index`: where the manifest wants statistics,
// only once those are frozen. Chunks that are gone meanwhile are left out. Takes the write lock. Returns how many were stored. Throws
// Error: kLocked, kNotFound, kStorage.
std::size_t keep_embeddings(Store& store, const CollectionInfo& collection, const std::map<ChunkId, std::vector<float>>& rows);

}  // namespace gritstone
