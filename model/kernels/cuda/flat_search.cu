// Exact search: inner products of all vectors, then the k best by selection in blocks (top_keys.cuh). The vectors' bytes are the cost (4 KB
// each at 2,048 dimensions, against 4 bytes of score), so they are read once for all queries; a score is read once more by the selection.
#include <algorithm>
#include <cmath>

#include "model/kernels/cuda/blas.h"
#include "model/kernels/cuda/device.h"
#include "model/kernels/cuda/ops.h"
#include "model/kernels/cuda/top_keys.cuh"
#include "model/kernels/cuda/warp.cuh"

namespace gritstone::cuda {
namespace {

constexpr int kThreads = 256;
// Vectors whose scores exist at once: 64 MB of scores for 64 queries.
constexpr std::size_t kChunk = std::size_t{1} << 18;

// scores[r] = vectors[r] . query: a warp per vector, the query in shared memory.
__global__ void __launch_bounds__(kThreads)
    inner_products_kernel(const __half* vectors, std::uint32_t rows, std::uint32_t dim, const __half* query, float* scores) {
  GS_DYNAMIC_SHARED(shared);
  __half* const q = reinterpret_cast<__half*>(shared);
  for (std::uint32_t i = threadIdx.x; i < dim; i += kThreads) q[i] = query[i];
  __syncthreads();
  const std::uint32_t lane = threadIdx.x % kWarp;
  const std::uint32_t warps = gridDim.x * (kThreads / kWarp);
  for (std::uint32_t row = blockIdx.x * (kThreads / kWarp) + threadIdx.x / kWarp; row < rows; row += warps) {
    const __half* const v = vectors + static_cast<std::size_t>(row) * dim;
    float sum = 0;
#pragma unroll 4
    for (std::uint32_t begin = 0; begin < dim; begin += 8 * kWarp) {
      const std::uint32_t c = begin + 8 * lane;
      if (c >= dim) continue;
      const uint4 words = load_once(v + c);
      const std::uint32_t w[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        __half2 pair;
        memcpy(&pair, &w[j], sizeof(pair));
        sum = fmaf(__low2float(pair), __half2float(q[c + 2 * j]), sum);
        sum = fmaf(__high2float(pair), __half2float(q[c + 2 * j + 1]), sum);
      }
    }
    sum = warp_sum(sum);
    if (lane == 0) scores[row] = sum;
  }
}

// The k largest of each query's keys, at most kTopSegment, written out.
__global__ void __launch_bounds__(kTopThreads)
    finish_kernel(const Key* from, std::size_t stride, std::uint32_t count, std::uint32_t k, std::int64_t* ids, float* scores) {
  __shared__ TopScratch shared;
  let_next_start();
  wait_for_previous();
  Key keys[kTopPerThread];
  load_keys(KeySource{nullptr, from, stride, count, 0, false}, blockIdx.x, 0, keys);
  block_top(keys, k, shared);
  if (threadIdx.x >= k) return;
  const Key key = shared.sorted[threadIdx.x];
  ids[static_cast<std::size_t>(blockIdx.x) * k + threadIdx.x] = key != 0 ? static_cast<std::int64_t>(id_of(key)) : -1;
  scores[static_cast<std::size_t>(blockIdx.x) * k + threadIdx.x] = key != 0 ? value_of(key) : -INFINITY;
}

void score(Stream stream, Blas& blas, const __half* vectors, std::uint32_t rows, std::uint32_t dim, const __half* queries,
           std::uint32_t query_count, float* scores) {
  // One query is at the memory's limit so (docs/results/cuda.md). For more the instructions would be: eight, four at a time, took longer
  // than 64 with cuBLAS.
  if (query_count > 1 || dim * sizeof(__half) > kFreeShared) {
    return blas.inner_products(vectors, rows, dim, queries, query_count, scores, kChunk);
  }
  const unsigned blocks = static_cast<unsigned>(std::min<std::size_t>(ceil_div(rows, kThreads / kWarp), 2048));
  launch(inner_products_kernel, dim3(blocks), dim3(kThreads), dim * sizeof(__half), stream, vectors, rows, dim, queries, scores);
}

}  // namespace

std::size_t flat_search_workspace(std::size_t n, std::uint32_t query_count, std::uint32_t k) {
  std::size_t first_round = 0;
  for (std::size_t begin = 0; begin < n; begin += kChunk) first_round += keys_left(std::min(kChunk, n - begin), k);
  return query_count * (kChunk * sizeof(float) + 2 * (first_round + k) * sizeof(Key));
}

void flat_search(Stream stream, Blas& blas, const __half* vectors, std::size_t n, std::uint32_t dim, const __half* queries,
                 std::uint32_t query_count, std::uint32_t k, void* workspace, std::int64_t* ids, float* scores) {
  GS_CHECK(k >= 1 && k <= kMaxTopK && n < 0xFFFFFFFFu && dim % 8 == 0);
  float* const chunk_scores = static_cast<float*>(workspace);
  std::size_t first_round = 0;
  for (std::size_t begin = 0; begin < n; begin += kChunk) first_round += keys_left(std::min(kChunk, n - begin), k);
  const std::size_t stride = first_round + k;
  Key* const keys = reinterpret_cast<Key*>(chunk_scores + query_count * kChunk);
  std::size_t found = 0;
  for (std::size_t begin = 0; begin < n; begin += kChunk) {
    const std::uint32_t rows = static_cast<std::uint32_t>(std::min(kChunk, n - begin));
    score(stream, blas, vectors + begin * dim, rows, dim, queries, query_count, chunk_scores);
    queue_select(stream, KeySource{chunk_scores, nullptr, kChunk, rows, static_cast<std::uint32_t>(begin), false}, query_count, k,
                 keys + found, stride);
    found += keys_left(rows, k);
  }
  const Key* const left = thin_out(stream, keys, keys + query_count * stride, stride, found, query_count, k);
  launch_overlapped(finish_kernel, dim3(query_count), dim3(kTopThreads), 0, stream, left, stride, static_cast<std::uint32_t>(found), k, ids,
                    scores);
}

}  // namespace gritstone::cuda
