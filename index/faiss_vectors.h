// The flat FAISS index of one collection and its file. Derived data: whatever is wrong with it, SQLite can make it again.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "index/vector_index.h"

namespace gritstone {

// Whose vectors a file holds; all of it must match before the file is used.
struct VectorFileIdentity {
  std::string store_id;  // 32 hex digits
  std::int64_t collection = 0;
  std::uint64_t generation = 0;
  std::int64_t token = 0;
  std::size_t dim = 0;
  std::size_t count = 0;
};

// ids: ascending chunk ids. rows: [ids.size(), dim] f32, copied. damaged: rows the caller had to leave out.
// Throws Error(kDevice) if FAISS fails, kMemoryBudget out of memory.
std::shared_ptr<const VectorIndex> build_vector_index(std::size_t dim, std::vector<ChunkId> ids, std::span<const float> rows,
                                                      std::size_t damaged);

// File content (docs/STORE_FORMAT.md): header, ids, FAISS's own bytes, each covered by XXH3-128.
// REQUIRES: index came from this file's functions. Throws Error(kDevice).
std::vector<std::uint8_t> serialize_vector_index(const VectorIndex& index, const VectorFileIdentity& identity);

// nullptr and `why` if anything differs: length, hashes, identity, what FAISS finds inside. FAISS sees the bytes only after their hash
// matched, since its reader crashes or hangs on some damaged files.
std::shared_ptr<const VectorIndex> parse_vector_index(std::span<const std::uint8_t> bytes, const VectorFileIdentity& identity,
                                                      std::string& why);

}  // namespace gritstone
