// Large collections are searched on the GPU, where there is one.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "index/vector_index.h"
#include "model/device_search.h"

namespace gritstone {

// Puts flat indexes on the device as well, once each. Thread-safe.
class VectorPlacement {
 public:
  using Maker = std::function<std::unique_ptr<DeviceSearch>(std::span<const float> rows, std::size_t dim)>;
  // 16 MiB of f16: below it a processor is done in a millisecond or two.
  static constexpr std::size_t kLeastValues = std::size_t{8} << 20;

  explicit VectorPlacement(Maker make = make_device_search, std::size_t least_values = kLeastValues)
      : make_(std::move(make)), least_values_(least_values) {}

  // An index that gives exactly the results of `index`: the device finds candidates, `index` scores them, and where the candidates cannot
  // be shown to hold all of the best, `index` searches itself. `index` as it is if it is small or does not fit on the device.
  std::shared_ptr<const VectorIndex> place(std::shared_ptr<const VectorIndex> index);

 private:
  struct Placed {
    std::weak_ptr<const VectorIndex> index;
    std::shared_ptr<const VectorIndex> on_device;  // null: it did not fit
  };

  const Maker make_;
  const std::size_t least_values_;
  std::mutex mutex_;
  std::vector<Placed> placed_;  // guarded by mutex_
};

}  // namespace gritstone
