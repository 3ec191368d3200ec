// Is B better than A? Two sets of per-question figures of the same questions, compared pair by pair.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace gritstone {

struct QaRow;

// metric -> question -> value.
using QuestionFigures = std::map<std::string, std::map<std::string, double>>;

// Of `gritstone eval retrieval --json` ("per_query"), or of a run file of `gritstone eval qa`.
//   config  of a file that holds several ("configs" of the former, rows of the latter): which one; empty: the only one
// Throws Error: kNotFound; kInvalidArgument naming the file (neither of both, several configs and none named: they are listed).
QuestionFigures read_figures(const std::filesystem::path& path, const std::string& config);

// Of every config: em, f1, contained, hit (answerable questions), abstained (the others), ttft_ms (where something was written), total_ms.
// Rows that failed are left out.
std::map<std::string, QuestionFigures> figures_of(std::span<const QaRow> rows);

struct PairedComparison {
  std::string metric;
  std::size_t n = 0;  // questions both have
  double mean_a = 0, mean_b = 0;
  double difference = 0;        // B - A
  double lower = 0, upper = 0;  // 95 % interval of it: percentiles of the paired bootstrap (Efron 1979)
  // Two-sided p-value of the paired randomisation test (Fisher 1935; Smucker et al. 2007): how often a difference at least as large comes
  // up when the signs of the pairs' differences are drawn by chance.
  double p = 1;
  double p_holm = 1;      // corrected over all metrics compared (Holm 1979)
  double detectable = 0;  // the smallest difference that n pairs so scattered show in four of five experiments at level 0.05
};

struct CompareOptions {
  std::size_t resamples = 10000;
  std::uint64_t seed = 1;
};

// All metrics both have, by name. Throws Error(kInvalidArgument) if they share no question.
std::vector<PairedComparison> compare_paired(const QuestionFigures& a, const QuestionFigures& b, const CompareOptions& options = {});

// Sets p_holm of all of them, as one family (Holm 1979).
void correct_holm(std::span<PairedComparison* const> family);

// Whether less of the metric is better: times, divergence.
bool smaller_is_better(const std::string& metric);

}  // namespace gritstone
