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
// Weight of the cosine. Untuned models rank worse than BM25 but know other words for the same thing. SmolLM2-135M, 0 (BM25 alone) / 0.2 /
// 0.4 / 0.6: nDCG@10 0.855 / 0.871 / 0.876 / 0.861 for 100 SciFact queries over 300 documents; the sample questions that share no word
// with their answer find its chunk among the first five in 69 / 75 / 82 / 88 of 100 cases, the others in 99 / 98 / 96 / 96.
inline constexpr double kDenseWeightUntuned = 0.4;
// The same before the collection's statistics are frozen (see whitening.h): such cosines tell little.
inline constexpr double kDenseWeightUncentred = 0.1;
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
