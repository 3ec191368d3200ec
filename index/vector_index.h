// Nearest neighbours by inner product over one collection's embeddings. FAISS inside; no FAISS type outside.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace gritstone {

using ChunkId = std::int64_t;

struct ScoredChunk {
  ChunkId id = 0;
  float score = 0.0f;  // larger is better
};

// Immutable, so safe to search from many threads; shared between snapshots of the same vectors.
class VectorIndex {
 public:
  virtual ~VectorIndex() = default;

  virtual std::size_t dim() const noexcept = 0;
  virtual std::size_t size() const noexcept = 0;
  // Rows left out because their hash did not match when the index was built; 0 in a healthy store.
  virtual std::size_t damaged_rows() const noexcept = 0;

  // The k rows with the largest inner product with `query`, best first, ties by ascending id; fewer if there are fewer.
  //   query     [dim()] f32
  //   allowed   ascending ids; when given only these take part (exact scan). nullptr = all.
  // The result does not depend on the number of threads. Throws Error: kInvalidArgument (wrong dim, a value not finite); kDevice (FAISS
  // failed).
  virtual std::vector<ScoredChunk> search(std::span<const float> query, std::size_t k,
                                          const std::vector<ChunkId>* allowed = nullptr) const = 0;

  // The stored row of `id` (f16 widened); empty if there is none.
  virtual std::vector<float> row(ChunkId id) const = 0;

  // All rows, [size(), dim()], and the chunks they belong to, ascending.
  virtual std::span<const float> rows() const noexcept = 0;
  virtual std::span<const ChunkId> ids() const noexcept = 0;
};

}  // namespace gritstone
