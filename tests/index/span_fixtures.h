// Spans of random bits for the tests of the span files and the cache.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <random>
#include <vector>

#include "index/span_cache.h"

namespace gritstone::testing {

inline std::shared_ptr<const KvSpan> random_span(std::size_t tokens, std::uint64_t seed, KvType type = KvType::kBF16) {
  auto [span, bytes] = make_kv_span(type, KvShape{3, 2, 16}, tokens);
  std::mt19937_64 random(seed);
  for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random());
  return std::make_shared<const KvSpan>(std::move(span));
}

inline std::vector<std::int32_t> ids_of(std::size_t tokens, int seed) {
  std::vector<std::int32_t> ids(tokens);
  for (std::size_t i = 0; i < tokens; ++i) ids[i] = seed * 1000 + static_cast<int>(i);
  return ids;
}

inline SpanPut make_put(int seed, std::optional<ChunkId> chunk = std::nullopt, std::size_t tokens = 20, double cost = 0.1) {
  SpanPut put;
  put.ids = ids_of(tokens, seed);
  put.key = span_key(SpanScope{}, nullptr, put.ids);
  put.span = random_span(tokens, static_cast<std::uint64_t>(seed));
  put.chunk = chunk;
  put.cost_seconds = cost;
  return put;
}

inline bool same(const KvSpan& a, const KvSpan& b) {
  return a.type == b.type && a.shape == b.shape && a.tokens == b.tokens && std::ranges::equal(a.bytes, b.bytes);
}

inline std::size_t files_under(const std::filesystem::path& directory) {
  std::size_t n = 0;
  if (!std::filesystem::exists(directory)) return 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) n += entry.is_regular_file() ? 1 : 0;
  return n;
}

inline std::uint64_t bytes_under(const std::filesystem::path& directory) {
  std::uint64_t n = 0;
  if (!std::filesystem::exists(directory)) return 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) n += entry.is_regular_file() ? entry.file_size() : 0;
  return n;
}

}  // namespace gritstone::testing
