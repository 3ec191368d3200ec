// The largest logits of every row: 50,304 of them in 13 blocks, then one block a row over what these leave. Each logit is read once (13 MB
// for 64 rows, most of it still in the second-level cache) and decided on in registers.
#include <cmath>

#include "model/kernels/cuda/device.h"
#include "model/kernels/cuda/ops.h"
#include "model/kernels/cuda/top_keys.cuh"

namespace gritstone::cuda {
namespace {

// The k largest of each row's keys, at most kTopSegment, written out.
__global__ void __launch_bounds__(kTopThreads)
    finish_kernel(const Key* from, std::size_t stride, std::uint32_t count, std::uint32_t k, TopLogit* top) {
  __shared__ TopScratch shared;
  let_next_start();
  wait_for_previous();
  Key keys[kTopPerThread];
  load_keys(KeySource{nullptr, from, stride, count, 0, false}, blockIdx.x, 0, keys);
  block_top(keys, k, shared);
  if (threadIdx.x >= k) return;
  const Key key = shared.sorted[threadIdx.x];
  TopLogit entry;
  entry.id = key != 0 ? static_cast<std::int32_t>(id_of(key)) : -1;
  entry.logit = key != 0 ? value_of(key) : -INFINITY;
  top[static_cast<std::size_t>(blockIdx.x) * k + threadIdx.x] = entry;
}

}  // namespace

std::size_t top_logits_workspace(std::uint32_t rows, std::uint32_t vocab, std::uint32_t k) {
  const std::size_t first = keys_left(vocab, k);
  return rows * first * sizeof(Key) * (first > kTopSegment ? 2 : 1);
}

void top_logits(Stream stream, const float* logits, std::uint32_t rows, std::uint32_t vocab, std::uint32_t k, void* workspace,
                TopLogit* top) {
  GS_CHECK(k >= 1 && k <= kMaxTopK && vocab >= 1);
  if (rows == 0) return;
  std::size_t found = keys_left(vocab, k);
  const std::size_t stride = found;
  Key* const keys = static_cast<Key*>(workspace);
  queue_select(stream, KeySource{logits, nullptr, vocab, vocab, 0, true}, rows, k, keys, stride);
  const Key* const left = thin_out(stream, keys, keys + rows * stride, stride, found, rows, k);
  launch_overlapped(finish_kernel, dim3(rows), dim3(kTopThreads), 0, stream, left, stride, static_cast<std::uint32_t>(found), k, top);
}

}  // namespace gritstone::cuda
