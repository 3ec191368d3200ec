#include "retriever/whitening.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "retriever/pooling.h"

namespace gritstone {
namespace {

std::vector<float> column_means(MatrixView<const float> rows) {
  std::vector<double> sums(rows.cols, 0.0);
  for (std::size_t i = 0; i < rows.rows; ++i) {
    const auto row = rows.row(i);
    for (std::size_t c = 0; c < rows.cols; ++c) sums[c] += static_cast<double>(row[c]);
  }
  std::vector<float> mean(rows.cols);
  for (std::size_t c = 0; c < rows.cols; ++c) mean[c] = static_cast<float>(sums[c] / static_cast<double>(rows.rows));
  return mean;
}

void subtract_along(std::span<double> v, std::span<const float> direction) {
  double along = 0;
  for (std::size_t c = 0; c < v.size(); ++c) along += v[c] * static_cast<double>(direction[c]);
  for (std::size_t c = 0; c < v.size(); ++c) v[c] -= along * static_cast<double>(direction[c]);
}

bool normalise(std::span<double> v) {
  double squares = 0;
  for (const double x : v) squares += x * x;
  const double norm = std::sqrt(squares);
  if (norm < 1e-9) return false;
  for (double& x : v) x /= norm;
  return true;
}

}  // namespace

void EmbedStatistics::apply(std::span<float> row) const {
  if (mean.empty()) return;
  std::vector<float> result(row.begin(), row.end());
  for (std::size_t c = 0; c < result.size(); ++c) {
    result[c] -= mean[c];
    if (!deviation.empty()) result[c] /= deviation[c];
  }
  for (const std::vector<float>& component : components) {
    const double along = dot(result, component);
    for (std::size_t c = 0; c < result.size(); ++c) result[c] = static_cast<float>(result[c] - along * static_cast<double>(component[c]));
  }
  // Rounding leaves about 1e-7 of a row that equals the mean; that is noise, not a direction.
  if (dot(result, result) < 1e-10 || !normalise_l2(result)) return;
  std::copy(result.begin(), result.end(), row.begin());
}

EmbedStatistics mean_and_components(MatrixView<const float> rows, std::size_t components) {
  EmbedStatistics statistics;
  statistics.samples = rows.rows;
  statistics.mean = column_means(rows);
  std::vector<float> centred(rows.rows * rows.cols);
  for (std::size_t i = 0; i < rows.rows; ++i) {
    const auto row = rows.row(i);
    for (std::size_t c = 0; c < rows.cols; ++c) centred[i * rows.cols + c] = row[c] - statistics.mean[c];
  }
  constexpr int kIterations = 60;
  std::vector<double> v(rows.cols);
  std::vector<double> next(rows.cols);
  for (std::size_t k = 0; k < components && k < rows.cols; ++k) {
    std::uint64_t state = k;
    for (double& x : v) {
      state = state * 6364136223846793005u + 1442695040888963407u;  // Knuth's MMIX generator: any fixed start will do
      x = static_cast<double>(state >> 40) / static_cast<double>(1 << 24) - 0.5;
    }
    bool found = normalise(v);
    for (int iteration = 0; iteration < kIterations && found; ++iteration) {
      std::fill(next.begin(), next.end(), 0.0);
      for (std::size_t i = 0; i < rows.rows; ++i) {
        const float* row = centred.data() + i * rows.cols;
        double along = 0;
        for (std::size_t c = 0; c < rows.cols; ++c) along += static_cast<double>(row[c]) * v[c];
        for (std::size_t c = 0; c < rows.cols; ++c) next[c] += along * static_cast<double>(row[c]);
      }
      for (const std::vector<float>& earlier : statistics.components) subtract_along(next, earlier);
      found = normalise(next);
      v.swap(next);
    }
    if (!found) break;  // the rows have no further direction
    statistics.components.emplace_back(v.begin(), v.end());
  }
  return statistics;
}

EmbedStatistics mean_and_deviation(MatrixView<const float> rows) {
  EmbedStatistics statistics;
  statistics.samples = rows.rows;
  statistics.mean = column_means(rows);
  std::vector<double> squares(rows.cols, 0.0);
  for (std::size_t i = 0; i < rows.rows; ++i) {
    const auto row = rows.row(i);
    for (std::size_t c = 0; c < rows.cols; ++c) {
      const double d = static_cast<double>(row[c]) - static_cast<double>(statistics.mean[c]);
      squares[c] += d * d;
    }
  }
  statistics.deviation.resize(rows.cols);
  for (std::size_t c = 0; c < rows.cols; ++c) {
    const auto deviation = static_cast<float>(std::sqrt(squares[c] / static_cast<double>(rows.rows)));
    statistics.deviation[c] = deviation < 1e-8f ? 1.0f : deviation;
  }
  return statistics;
}

}  // namespace gritstone
