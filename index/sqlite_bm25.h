// BM25 as an FTS5 auxiliary function: gritstone_bm25(table, weight of column 0, 1, ...).
#pragma once

#include <string>

struct sqlite3;

namespace gritstone {

// FTS5's own bm25() fixes k1 = 1.2, b = 0.75 and clamps the idf of terms in more than half of the rows to 1e-6, which makes every score of
// a small collection nearly zero. Ours is larger = better, always > 0 for a match:
//   idf(t)   = ln(1 + (N - n + 0.5) / (n + 0.5))                     N rows, n rows with t (any column)
//   score    = sum over t of idf(t) * f (k1 + 1) / (f + k1 (1 - b + b L / avgL))
//   f, L     frequency of t and length in tokens, summed over the columns with their weights (BM25F with one b); k1 = 0.9, b = 0.4
// Throws Error(kStorage) if it cannot be registered.
void register_bm25(sqlite3* connection, const std::string& path);

}  // namespace gritstone
