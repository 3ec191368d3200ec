#include "retriever/device_vectors.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "base/error.h"
#include "model/dtype.h"

namespace gritstone {
namespace {

double norm(std::span<const float> row) {
  double sum = 0;
  for (const float x : row) sum += double{x} * double{x};
  return std::sqrt(sum);
}

class DeviceVectors final : public VectorIndex {
 public:
  DeviceVectors(std::shared_ptr<const VectorIndex> index, std::unique_ptr<DeviceSearch> device)
      : index_(std::move(index)), device_(std::move(device)) {
    const std::span<const float> all = index_->rows();
    for (std::size_t i = 0; i < index_->size(); ++i) longest_ = std::max(longest_, norm(all.subspan(i * dim(), dim())));
  }

  std::size_t dim() const noexcept override { return index_->dim(); }
  std::size_t size() const noexcept override { return index_->size(); }
  std::size_t damaged_rows() const noexcept override { return index_->damaged_rows(); }
  std::vector<float> row(ChunkId id) const override { return index_->row(id); }
  std::span<const float> rows() const noexcept override { return index_->rows(); }
  std::span<const ChunkId> ids() const noexcept override { return index_->ids(); }

  std::vector<ScoredChunk> search(std::span<const float> query, std::size_t k, const std::vector<ChunkId>* allowed) const override {
    constexpr std::size_t kMost = DeviceSearch::kMostHits;
    if (allowed == nullptr && query.size() == dim() && k > 0 && k < kMost && size() > kMost) {
      const double error = score_error(query);
      for (const std::size_t fetch : {std::min(2 * k, kMost), kMost}) {
        if (std::isfinite(error)) {
          if (auto hits = search_device(query, k, fetch, error)) return *std::move(hits);
        }
      }
    }
    return index_->search(query, k, allowed);
  }

 private:
  // How far a score of the device may be from the index's: by the query's rounding to f16 (Cauchy and Schwarz), and by both f32 sums. Not
  // finite where f16 cannot hold the query.
  double score_error(std::span<const float> query) const {
    double rounding = 0;
    for (const float x : query) {
      const double lost = double{x} - double{f16_to_f32(f32_to_f16(x))};
      rounding += lost * lost;
    }
    const double sums = 2.0 * static_cast<double>(dim()) * 0x1p-24 * norm(query);
    return longest_ * (std::sqrt(rounding) + sums);
  }

  // Empty if a row that the device did not return could be among the k best.
  std::optional<std::vector<ScoredChunk>> search_device(std::span<const float> query, std::size_t k, std::size_t fetch,
                                                        double error) const {
    const std::vector<DeviceSearch::Hit> found = device_->search(query, fetch);
    if (found.size() < fetch) return std::nullopt;
    std::vector<ChunkId> candidates;
    for (const DeviceSearch::Hit& hit : found) candidates.push_back(index_->ids()[hit.row]);
    std::sort(candidates.begin(), candidates.end());
    std::vector<ScoredChunk> hits = index_->search(query, k, &candidates);
    if (hits.size() < k || !(double{hits.back().score} > double{found.back().score} + error)) return std::nullopt;
    return hits;
  }

  const std::shared_ptr<const VectorIndex> index_;
  const std::unique_ptr<DeviceSearch> device_;
  double longest_ = 0;  // norm of a row
};

}  // namespace

std::shared_ptr<const VectorIndex> VectorPlacement::place(std::shared_ptr<const VectorIndex> index) {
  if (index == nullptr || index->size() * index->dim() < least_values_) return index;
  const std::lock_guard lock(mutex_);
  // An index that nobody but its copy on the device holds any more is of an older generation.
  std::erase_if(placed_, [](const Placed& p) { return p.index.use_count() <= (p.on_device == nullptr ? 0 : 1); });
  for (const Placed& p : placed_) {
    if (p.index.lock() == index) return p.on_device == nullptr ? index : p.on_device;
  }
  std::shared_ptr<const VectorIndex> on_device;
  try {
    on_device = std::make_shared<DeviceVectors>(index, make_(index->rows(), index->dim()));
  } catch (const Error&) {
    // The model is on the processor, there is no room, or the kernels do not take the width: the processor can do it.
  }
  placed_.push_back({index, on_device});
  return on_device == nullptr ? index : on_device;
}

}  // namespace gritstone
