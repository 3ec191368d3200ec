// Copies between spans and the live cache's pages, converting where the types differ, on all threads.
#pragma once

#include <cstddef>
#include <span>

#include "base/thread_pool.h"
#include "model/job.h"
#include "model/kernels/vector_kernels.h"
#include "model/kv_pool.h"

namespace gritstone {

struct SpanTransfer {
  const VectorKernels& kernels;
  ThreadPool& threads;
  const KvPool& pool;
  KvShape shape;

  // Puts every segment into its slots. Cost: bytes read plus bytes written, at memory speed; a span of another type is decoded and rounded
  // to the live type on the way.
  void load(const KvSequence& sequence, std::span<const Segment> segments) const;

  // The states of `count` slots from `slot` as a new span of `type`.
  KvSpan save(const KvSequence& sequence, std::size_t slot, std::size_t count, KvType type) const;
};

}  // namespace gritstone
