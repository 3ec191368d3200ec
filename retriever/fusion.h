// Joins the two rankings of one query.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "index/vector_index.h"

namespace gritstone {

enum class FusionKind {
  kConvex,  // (1 - w) * BM25 + w * cosine, each min-max normalised over the candidates (Bruch et al. 2023)
  kRrf,     // reciprocal ranks (Cormack et al. 2009), unweighted
};

FusionKind parse_fusion(std::string_view name);  // convex, rrf; throws Error(kInvalidArgument)

inline constexpr double kRrfConstant = 60;
// Weight of the cosine. An untuned model ranks far worse than BM25, so it only breaks near ties.
inline constexpr double kDenseWeightUntuned = 0.2;
inline constexpr double kDenseWeightTuned = 0.6;

struct FusedChunk {
  ChunkId id = 0;
  double score = 0;            // 0..1 for kConvex
  std::optional<float> bm25;   // absent: no word matched
  std::optional<float> dense;  // absent: no vector, or not looked at
  std::size_t bm25_rank = 0;   // 1-based among the candidates; 0: not ranked
  std::size_t dense_rank = 0;
};

// Candidates are the union of both lists, each with unique ids, in any order. A candidate that one list lacks has that list's minimum
// there. If one list is empty its weight goes to the other. Best first, ties by ascending id. dense_weight in 0..1 (kConvex only).
std::vector<FusedChunk> fuse(std::span<const ScoredChunk> bm25, std::span<const ScoredChunk> dense, FusionKind kind, double dense_weight);

}  // namespace gritstone
