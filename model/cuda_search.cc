#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <mutex>

#include "base/error.h"
#include "model/device_search.h"
#include "model/dtype.h"
#include "model/kernels/cuda/blas.h"
#include "model/kernels/cuda/device.h"
#include "model/kernels/cuda/ops.h"

namespace gritstone {
namespace {

static_assert(DeviceSearch::kMostHits == cuda::kMaxTopK);

// Left to whoever else computes on the device, beside the vectors and the workspace.
constexpr std::size_t kSpareBytes = std::size_t{256} << 20;
constexpr std::size_t kUploadRows = std::size_t{1} << 14;  // converted and copied at a time

class CudaSearch : public DeviceSearch {
 public:
  CudaSearch(std::span<const float> rows, std::size_t dim) : count_(rows.size() / dim), dim_(dim), blas_(nullptr) {
    const std::size_t bytes = rows.size() * sizeof(cuda::half_bits), workspace = cuda::flat_search_workspace(count_, 1, kMostHits);
    std::size_t free = 0, total = 0;
    cuda::check(cudaMemGetInfo(&free, &total), "free memory");
    if (bytes + workspace + kSpareBytes > free) {
      throw Error(ErrorCode::kMemoryBudget, "the vectors need " + std::to_string((bytes + workspace) >> 20) + " MiB on the GPU, " +
                                                std::to_string(free >> 20) + " MiB are free and " + std::to_string(kSpareBytes >> 20) +
                                                " MiB stay so");
    }
    vectors_ = cuda::DeviceBuffer(bytes);
    workspace_ = cuda::DeviceBuffer(workspace);
    query_ = cuda::DeviceBuffer(dim * sizeof(cuda::half_bits));
    ids_ = cuda::DeviceBuffer(kMostHits * sizeof(std::int64_t));
    scores_ = cuda::DeviceBuffer(kMostHits * sizeof(float));
    for (std::size_t first = 0; first < rows.size(); first += kUploadRows * dim) {
      const std::vector<cuda::half_bits> halves = to_halves(rows.subspan(first, std::min(kUploadRows * dim, rows.size() - first)));
      cuda::check(cudaMemcpy(vectors_.as<cuda::half_bits>() + first, halves.data(), halves.size() * sizeof(cuda::half_bits),
                             cudaMemcpyHostToDevice),
                  "upload of vectors");
    }
  }

  std::vector<Hit> search(std::span<const float> query, std::size_t k) override {
    GS_CHECK(query.size() == dim_ && k >= 1 && k <= kMostHits);
    const std::vector<cuda::half_bits> halves = to_halves(query);
    std::vector<std::int64_t> ids(k);
    std::vector<float> scores(k);
    {
      const std::lock_guard lock(mutex_);
      cuda::check(cudaMemcpy(query_.data(), halves.data(), halves.size() * sizeof(cuda::half_bits), cudaMemcpyHostToDevice),
                  "upload of a query");
      cuda::flat_search(nullptr, blas_, vectors_.as<__half>(), count_, static_cast<std::uint32_t>(dim_), query_.as<__half>(), 1,
                        static_cast<std::uint32_t>(k), workspace_.data(), ids_.as<std::int64_t>(), scores_.as<float>());
      cuda::check(cudaMemcpy(ids.data(), ids_.data(), k * sizeof(std::int64_t), cudaMemcpyDeviceToHost), "download of hits");
      cuda::check(cudaMemcpy(scores.data(), scores_.data(), k * sizeof(float), cudaMemcpyDeviceToHost), "download of hits");
    }
    std::vector<Hit> hits;
    for (std::size_t i = 0; i < k && ids[i] >= 0; ++i) hits.push_back({static_cast<std::size_t>(ids[i]), scores[i]});
    return hits;
  }

 private:
  static std::vector<cuda::half_bits> to_halves(std::span<const float> values) {
    std::vector<cuda::half_bits> halves(values.size());
    std::transform(values.begin(), values.end(), halves.begin(), f32_to_f16);
    return halves;
  }

  const std::size_t count_, dim_;
  std::mutex mutex_;  // guards what follows
  cuda::Blas blas_;
  cuda::DeviceBuffer vectors_, workspace_, query_, ids_, scores_;
};

}  // namespace

std::unique_ptr<DeviceSearch> make_device_search(std::span<const float> rows, std::size_t dim) {
  if (dim == 0 || dim % 8 != 0 || rows.size() % dim != 0) {
    throw Error(ErrorCode::kInvalidArgument,
                "vectors of " + std::to_string(dim) + " dimensions cannot be searched on the GPU: a multiple of 8 can");
  }
  return std::make_unique<CudaSearch>(rows, dim);
}

}  // namespace gritstone
