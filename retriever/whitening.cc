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

// Rows that the average variance counts for.
constexpr double kShrinkage = 8;

std::vector<float> shrunk_deviations(MatrixView<const float> rows, const std::vector<float>& mean) {
  std::vector<double> variance(rows.cols, 0.0);
  for (std::size_t i = 0; i < rows.rows; ++i) {
    const auto row = rows.row(i);
    for (std::size_t c = 0; c < rows.cols; ++c) {
      const double d = static_cast<double>(row[c]) - static_cast<double>(mean[c]);
      variance[c] += d * d;
    }
  }
  double average = 0;
  const auto n = static_cast<double>(rows.rows);
  for (double& v : variance) average += (v /= n) / static_cast<double>(rows.cols);
  std::vector<float> deviation(rows.cols, 1.0f);
  if (average < 1e-16) return deviation;  // one row, or all equal
  for (std::size_t c = 0; c < rows.cols; ++c) {
    deviation[c] = static_cast<float>(std::sqrt((variance[c] * n + average * kShrinkage) / (n + kShrinkage)));
  }
  return deviation;
}

// Strongest directions of `rows` [n, dim], which need not be centred at more than rounding.
std::vector<std::vector<float>> strongest_directions(const std::vector<float>& rows, std::size_t dim, std::size_t count) {
  constexpr int kIterations = 60;
  std::vector<std::vector<float>> directions;
  std::vector<double> v(dim);
  std::vector<double> next(dim);
  for (std::size_t k = 0; k < count && k < dim; ++k) {
    std::uint64_t state = k;
    for (double& x : v) {
      state = state * 6364136223846793005u + 1442695040888963407u;  // Knuth's MMIX generator: any fixed start will do
      x = static_cast<double>(state >> 40) / static_cast<double>(1 << 24) - 0.5;
    }
    bool found = normalise(v);
    for (int iteration = 0; iteration < kIterations && found; ++iteration) {
      std::fill(next.begin(), next.end(), 0.0);
      for (std::size_t first = 0; first < rows.size(); first += dim) {
        const float* row = rows.data() + first;
        double along = 0;
        for (std::size_t c = 0; c < dim; ++c) along += static_cast<double>(row[c]) * v[c];
        for (std::size_t c = 0; c < dim; ++c) next[c] += along * static_cast<double>(row[c]);
      }
      for (const std::vector<float>& earlier : directions) subtract_along(next, earlier);
      found = normalise(next);
      v.swap(next);
    }
    if (!found) break;  // the rows have no further direction
    directions.emplace_back(v.begin(), v.end());
  }
  return directions;
}

}  // namespace

void EmbedStatistics::apply(std::span<float> row, TextRole role) const {
  if (mean.empty()) return;
  const std::vector<float>& centre = role == TextRole::kQuery && !query_mean.empty() ? query_mean : mean;
  std::vector<float> result(row.begin(), row.end());
  double squares = 0;
  for (std::size_t c = 0; c < result.size(); ++c) {
    result[c] -= centre[c];
    squares += static_cast<double>(result[c]) * static_cast<double>(result[c]);
    result[c] /= deviation[c];
  }
  // Rounding leaves about 1e-7 of a row that equals the mean; that is noise, not a direction.
  if (squares < 1e-10) return;
  for (const std::vector<float>& component : components) {
    const double along = dot(result, component);
    for (std::size_t c = 0; c < result.size(); ++c) result[c] = static_cast<float>(result[c] - along * static_cast<double>(component[c]));
  }
  if (normalise_l2(result)) std::copy(result.begin(), result.end(), row.begin());
}

EmbedStatistics embed_statistics(MatrixView<const float> rows, MatrixView<const float> queries, std::size_t components) {
  EmbedStatistics statistics;
  statistics.samples = rows.rows;
  statistics.mean = column_means(rows);
  if (queries.rows > 0) statistics.query_mean = column_means(queries);
  statistics.deviation = shrunk_deviations(rows, statistics.mean);
  std::vector<float> scaled(rows.rows * rows.cols);
  for (std::size_t i = 0; i < rows.rows; ++i) {
    const auto row = rows.row(i);
    for (std::size_t c = 0; c < rows.cols; ++c) scaled[i * rows.cols + c] = (row[c] - statistics.mean[c]) / statistics.deviation[c];
  }
  statistics.components = strongest_directions(scaled, rows.cols, components);
  return statistics;
}

}  // namespace gritstone
