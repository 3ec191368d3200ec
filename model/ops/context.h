// What every op needs: kernels, threads and per-thread scratch.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "model/buffer.h"
#include "model/kernels/kernel_table.h"

namespace gritstone {

// Not thread-safe: one per engine thread.
class OpContext {
 public:
  OpContext(const KernelTable& kernels, ThreadPool& pool, std::size_t attention_scratch_floats);

  const VectorKernels& vector() const noexcept { return *kernels_.vector; }
  const MatmulKernels& matmul() const noexcept { return *kernels_.matmul; }
  ThreadPool& pool() const noexcept { return pool_; }

  // 64-byte aligned scratch of a thread: the larger of what a matmul and an attention task need.
  float* scratch(std::size_t thread) const noexcept { return scratch_.floats() + thread * scratch_floats_; }

 private:
  KernelTable kernels_;
  ThreadPool& pool_;
  std::size_t scratch_floats_;
  Buffer scratch_;
};

// A float array that grows and keeps its memory between steps.
class Workspace {
 public:
  float* floats(std::size_t count);

 private:
  Buffer buffer_;
};

// Rows of x together with their quantised form, owned.
class QuantizedRows {
 public:
  // Points at `x` ([rows, cols], borrowed until the next call) and quantises it if `quantize` (some matrix has panels).
  const Activations& set(OpContext& context, const float* x, std::size_t rows, std::size_t cols, bool quantize);

 private:
  Activations activations_;
  Workspace q_, scale_, sum_;
};

}  // namespace gritstone
