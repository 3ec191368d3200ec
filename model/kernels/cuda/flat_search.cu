// Exact search: inner products of all vectors, then the k best by radix selection. The vectors' bytes are the cost (4 KB each at 2,048
// dimensions, against 4 bytes of score), so they are read once for all queries; a score is read once more by the selection.
#include <algorithm>
#include <cmath>

#include "model/kernels/cuda/blas.h"
#include "model/kernels/cuda/device.h"
#include "model/kernels/cuda/ops.h"
#include "model/kernels/cuda/warp.cuh"

namespace gritstone::cuda {
namespace {

using Key = unsigned long long;

constexpr int kThreads = 256;
constexpr int kPerThread = 16;
constexpr std::uint32_t kSegment = kThreads * kPerThread;  // keys one block selects from, in registers
// Vectors whose scores exist at once: 64 MB of scores for 64 queries.
constexpr std::size_t kChunk = std::size_t{1} << 18;

// Orders like the score, then by descending id; never 0, which stands for nothing.
__device__ inline Key make_key(float score, std::uint32_t id) {
  const std::uint32_t bits = __float_as_uint(score);
  const std::uint32_t ordered = (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
  return static_cast<Key>(ordered) << 32 | (0xFFFFFFFFu - id);
}
__device__ inline float score_of(Key key) {
  const std::uint32_t ordered = static_cast<std::uint32_t>(key >> 32);
  return __uint_as_float((ordered & 0x80000000u) != 0 ? ordered & 0x7FFFFFFFu : ~ordered);
}
__device__ inline std::uint32_t id_of(Key key) { return 0xFFFFFFFFu - static_cast<std::uint32_t>(key); }

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

// Where a block's keys come from: scores of vectors `base` + i, or keys of an earlier round.
struct KeySource {
  const float* scores = nullptr;
  const Key* keys = nullptr;
  std::size_t stride = 0;  // between queries
  std::uint32_t count = 0;
  std::uint32_t base = 0;
};

// The k largest keys of the block's segment, unordered, zeros behind; blockIdx.y is the query. Finds the k-th largest digit by digit: a
// histogram of eight bits of the keys that still match, eight times at most.
__global__ void __launch_bounds__(kThreads) select_kernel(KeySource source, std::uint32_t k, Key* out, std::size_t out_stride) {
  __shared__ unsigned histogram[256];
  __shared__ unsigned chosen_digit, above, taken;
  const std::uint32_t begin = blockIdx.x * kSegment;
  Key keys[kPerThread];
#pragma unroll
  for (int i = 0; i < kPerThread; ++i) {
    const std::uint32_t at = begin + i * kThreads + threadIdx.x;
    keys[i] = 0;
    if (at < source.count) {
      keys[i] = source.keys != nullptr ? source.keys[blockIdx.y * source.stride + at]
                                       : make_key(source.scores[blockIdx.y * source.stride + at], source.base + at);
    }
  }
  Key threshold = 0;  // the bits of the k-th largest key that are known
  int shift = 64;
  std::uint32_t wanted = k;  // of the keys that match them
  while (shift > 0 && wanted > 0) {
    shift -= 8;
    histogram[threadIdx.x] = 0;
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kPerThread; ++i) {
      if (shift == 56 || keys[i] >> (shift + 8) == threshold >> (shift + 8)) atomicAdd(&histogram[keys[i] >> shift & 255], 1u);
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      unsigned sum = 0;
      int digit = 255;
      while (digit > 0 && sum + histogram[digit] < wanted) sum += histogram[digit--];
      chosen_digit = static_cast<unsigned>(digit);
      above = sum;
    }
    __syncthreads();
    threshold |= static_cast<Key>(chosen_digit) << shift;
    wanted -= above;
    const bool exact = histogram[chosen_digit] == wanted;  // all that match are taken: lower bits do not matter
    __syncthreads();
    if (exact) break;
  }
  if (threadIdx.x == 0) taken = 0;
  Key* const to = out + blockIdx.y * out_stride + static_cast<std::size_t>(blockIdx.x) * k;
  for (std::uint32_t i = threadIdx.x; i < k; i += kThreads) to[i] = 0;
  __syncthreads();
#pragma unroll
  for (int i = 0; i < kPerThread; ++i) {
    if (keys[i] != 0 && keys[i] >= threshold) {
      const unsigned at = atomicAdd(&taken, 1u);
      if (at < k) to[at] = keys[i];
    }
  }
}

// Sorts the k keys of each query and writes them out.
__global__ void __launch_bounds__(kThreads)
    finish_kernel(const Key* keys, std::size_t stride, std::uint32_t k, std::int64_t* ids, float* scores) {
  __shared__ Key sorted[kThreads];
  sorted[threadIdx.x] = threadIdx.x < k ? keys[blockIdx.x * stride + threadIdx.x] : 0;
  __syncthreads();
  for (unsigned size = 2; size <= kThreads; size *= 2) {
    for (unsigned step = size / 2; step > 0; step /= 2) {
      const unsigned other = threadIdx.x ^ step;
      const Key mine = sorted[threadIdx.x], theirs = sorted[other];
      const bool descending = (threadIdx.x & size) == 0;
      const bool keep_larger = descending == (threadIdx.x < other);
      __syncthreads();
      sorted[threadIdx.x] = (mine > theirs) == keep_larger ? mine : theirs;
      __syncthreads();
    }
  }
  if (threadIdx.x >= k) return;
  const Key key = sorted[threadIdx.x];
  ids[static_cast<std::size_t>(blockIdx.x) * k + threadIdx.x] = key != 0 ? static_cast<std::int64_t>(id_of(key)) : -1;
  scores[static_cast<std::size_t>(blockIdx.x) * k + threadIdx.x] = key != 0 ? score_of(key) : -INFINITY;
}

void score(Stream stream, Blas& blas, const __half* vectors, std::uint32_t rows, std::uint32_t dim, const __half* queries,
           std::uint32_t query_count, float* scores) {
  // One query is at 96 % of the bandwidth so. For more the instructions would be the limit: four were slower than 64 with cuBLAS.
  if (query_count > 1 || dim * sizeof(__half) > kFreeShared) {
    return blas.inner_products(vectors, rows, dim, queries, query_count, scores, kChunk);
  }
  const unsigned blocks = static_cast<unsigned>(std::min<std::size_t>(ceil_div(rows, kThreads / kWarp), 2048));
  launch(inner_products_kernel, dim3(blocks), dim3(kThreads), dim * sizeof(__half), stream, vectors, rows, dim, queries, scores);
}

std::size_t candidates(std::size_t n, std::uint32_t k) { return ceil_div(n, kSegment) * k; }

}  // namespace

std::size_t flat_search_workspace(std::size_t n, std::uint32_t query_count, std::uint32_t k) {
  std::size_t first_round = 0;
  for (std::size_t begin = 0; begin < n; begin += kChunk) first_round += candidates(std::min(kChunk, n - begin), k);
  return query_count * (kChunk * sizeof(float) + 2 * (first_round + k) * sizeof(Key));
}

void flat_search(Stream stream, Blas& blas, const __half* vectors, std::size_t n, std::uint32_t dim, const __half* queries,
                 std::uint32_t query_count, std::uint32_t k, void* workspace, std::int64_t* ids, float* scores) {
  GS_CHECK(k >= 1 && k <= kMaxTopK && n < 0xFFFFFFFFu && dim % 8 == 0);
  float* const chunk_scores = static_cast<float*>(workspace);
  std::size_t first_round = 0;
  for (std::size_t begin = 0; begin < n; begin += kChunk) first_round += candidates(std::min(kChunk, n - begin), k);
  const std::size_t stride = first_round + k;
  Key* from = reinterpret_cast<Key*>(chunk_scores + query_count * kChunk);
  Key* to = from + query_count * stride;
  std::size_t found = 0;
  for (std::size_t begin = 0; begin < n; begin += kChunk) {
    const std::uint32_t rows = static_cast<std::uint32_t>(std::min(kChunk, n - begin));
    score(stream, blas, vectors + begin * dim, rows, dim, queries, query_count, chunk_scores);
    const KeySource source{chunk_scores, nullptr, kChunk, rows, static_cast<std::uint32_t>(begin)};
    launch(select_kernel, dim3(static_cast<unsigned>(ceil_div(rows, kSegment)), query_count), dim3(kThreads), 0, stream, source, k,
           from + found, stride);
    found += candidates(rows, k);
  }
  if (found == 0) {
    check(cudaMemsetAsync(from, 0, query_count * stride * sizeof(Key), stream), "search");
    found = k;
  }
  while (found > k) {
    const KeySource source{nullptr, from, stride, static_cast<std::uint32_t>(found), 0};
    launch(select_kernel, dim3(static_cast<unsigned>(ceil_div(found, kSegment)), query_count), dim3(kThreads), 0, stream, source, k, to,
           stride);
    found = candidates(found, k);
    std::swap(from, to);
  }
  launch(finish_kernel, dim3(query_count), dim3(kThreads), 0, stream, static_cast<const Key*>(from), stride, k, ids, scores);
}

}  // namespace gritstone::cuda
