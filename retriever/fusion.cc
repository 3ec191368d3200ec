#include "retriever/fusion.h"

#include <algorithm>
#include <map>
#include <string>

#include "base/error.h"

namespace gritstone {
namespace {

std::vector<ScoredChunk> ranked(std::span<const ScoredChunk> list) {
  std::vector<ScoredChunk> sorted(list.begin(), list.end());
  std::sort(sorted.begin(), sorted.end(),
            [](const ScoredChunk& a, const ScoredChunk& b) { return a.score != b.score ? a.score > b.score : a.id < b.id; });
  return sorted;
}

// Min-max over a ranked list: 1 for the best, 0 for the worst; all 1 if they are equal.
double normalised(double score, const std::vector<ScoredChunk>& list) {
  const double best = static_cast<double>(list.front().score);
  const double worst = static_cast<double>(list.back().score);
  return best > worst ? (score - worst) / (best - worst) : 1.0;
}

}  // namespace

FusionKind parse_fusion(std::string_view name) {
  if (name == "convex") return FusionKind::kConvex;
  if (name == "rrf") return FusionKind::kRrf;
  throw Error(ErrorCode::kInvalidArgument, "unknown fusion \"" + std::string(name) + "\", expected one of convex, rrf");
}

std::vector<FusedChunk> fuse(std::span<const ScoredChunk> bm25, std::span<const ScoredChunk> dense, FusionKind kind, double dense_weight) {
  if (!(dense_weight >= 0 && dense_weight <= 1)) {
    throw Error(ErrorCode::kInvalidArgument, "the dense weight is " + std::to_string(dense_weight) + ", expected 0 to 1");
  }
  const std::vector<ScoredChunk> by_words = ranked(bm25);
  const std::vector<ScoredChunk> by_vector = ranked(dense);
  double w = dense_weight;
  if (by_words.empty()) w = 1;
  if (by_vector.empty()) w = 0;

  std::map<ChunkId, FusedChunk> candidates;
  for (std::size_t i = 0; i < by_words.size(); ++i) {
    FusedChunk& c = candidates[by_words[i].id];
    c.bm25 = by_words[i].score;
    c.bm25_rank = i + 1;
    c.score += kind == FusionKind::kRrf ? 1.0 / (kRrfConstant + static_cast<double>(i + 1))
                                        : (1 - w) * normalised(static_cast<double>(by_words[i].score), by_words);
  }
  for (std::size_t i = 0; i < by_vector.size(); ++i) {
    FusedChunk& c = candidates[by_vector[i].id];
    c.dense = by_vector[i].score;
    c.dense_rank = i + 1;
    c.score += kind == FusionKind::kRrf ? 1.0 / (kRrfConstant + static_cast<double>(i + 1))
                                        : w * normalised(static_cast<double>(by_vector[i].score), by_vector);
  }
  std::vector<FusedChunk> result;
  result.reserve(candidates.size());
  for (auto& [id, candidate] : candidates) {
    candidate.id = id;
    result.push_back(candidate);
  }
  std::stable_sort(result.begin(), result.end(), [](const FusedChunk& a, const FusedChunk& b) { return a.score > b.score; });
  return result;
}

}  // namespace gritstone
