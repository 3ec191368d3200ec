// Spans on their way to the device's KV pages and back. A span that was loaded before is kept on the device while the budget lasts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <vector>

#include "base/kv_span.h"
#include "base/thread_pool.h"
#include "model/job.h"
#include "model/kernels/cuda/device.h"
#include "model/kernels/cuda/ops.h"
#include "model/kv_pages.h"

namespace gritstone {

// Not thread-safe. Work goes layer by layer on a stream of its own, so that layer L computes while layer L + 1 is on the bus.
class CudaSpans {
 public:
  // budget: bytes of device memory for spans. Throws Error(kMemoryBudget).
  CudaSpans(const KvShape& shape, const cuda::KvView& kv, ThreadPool& threads, std::size_t budget);
  ~CudaSpans();
  CudaSpans(const CudaSpans&) = delete;
  CudaSpans& operator=(const CudaSpans&) = delete;

  // Remembers the segments; they reach their slots with begin and advance.
  void add(const KvSequence& sequence, std::span<const Segment> segments);
  // Forgets what add was told about the sequence.
  void cancel(const KvSequence& sequence) noexcept;
  bool pending() const noexcept { return !pending_.empty(); }

  // Before the first layer of a forward: uploads page tables, sets positions and groups of the pending segments.
  void begin();
  // Queues layer `layer` of the pending segments; `compute` waits for it.
  void advance(std::size_t layer, cuda::Stream compute);
  // After the last layer: everything pending is done, once the streams are.
  void end();

  // Seconds that begin, advance and end took since the reset: filling page-locked memory and waiting for the bus.
  double seconds() const noexcept { return seconds_; }
  void reset_seconds() noexcept { seconds_ = 0; }

  // The states of `count` slots from `slot` as a new span of `type`; waits for the device.
  KvSpan save(const KvSequence& sequence, std::size_t slot, std::size_t count, KvType type, cuda::Stream compute);

 private:
  // A span's bytes on the device, in one piece of the arena.
  struct Resident {
    std::weak_ptr<const KvSpan> span;
    std::size_t at = 0, bytes = 0;
    std::size_t layers = 0;  // that were copied
    bool in_use = false;     // by a pending segment
  };
  struct Pending {
    const KvSequence* sequence = nullptr;
    Segment segment;
    std::size_t pages_at = 0;  // of its sequence, in pages_
    Resident* resident = nullptr;
    cuda::DeviceBuffer own;  // the bytes of a span that does not fit into the budget
  };
  struct Staging {
    cuda::PinnedBuffer memory;
    cudaEvent_t copied = nullptr;
  };

  class Timer;
  Resident* find_or_place(const std::shared_ptr<const KvSpan>& span);
  bool place(Resident& resident);
  void copy_layer(const KvSpan& span, std::size_t layer, std::uint8_t* to);

  const KvShape shape_;
  const cuda::KvView kv_;
  ThreadPool& threads_;
  cuda::Stream stream_ = nullptr;
  std::vector<cudaEvent_t> layer_ready_;
  Staging staging_[2];
  std::size_t turn_ = 0;
  cuda::DeviceBuffer arena_;
  std::list<Resident> residents_;  // most recently used first
  std::vector<Pending> pending_;
  std::vector<std::uint32_t> pages_;
  double seconds_ = 0;
  cuda::DeviceBuffer pages_device_;
};

}  // namespace gritstone
