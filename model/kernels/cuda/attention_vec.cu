// Attention for a few queries over long contexts: what it costs is reading K and V once, in order of the pages.
#include <cmath>

#include "base/error.h"
#include "model/kernels/cuda/attention_lanes.cuh"
#include "model/kernels/cuda/device.h"
#include "model/kernels/cuda/ops.h"
#include "model/kernels/cuda/warp.cuh"

namespace gritstone::cuda {
namespace {

constexpr int kSharers = 4;  // warps that share a KV head's slots
constexpr int kUnits = 2;    // units (a KV head with up to four of its query heads) of a block: they find each other's angles in the cache
constexpr int kThreads = kUnits * kSharers * kWarp;
constexpr int kMostQueries = 4;
constexpr std::uint32_t kPiece = 32;  // slots: splits are made of whole pieces

constexpr int kCombineThreads = 64;
constexpr std::uint32_t kMostSplits = 64;

// The split that piece i is in where there are fewer pieces than splits: the first s with pieces * (s + 1) / splits == i + 1.
__device__ inline std::uint32_t split_of_piece(std::uint32_t i, std::uint32_t pieces, std::uint32_t splits) {
  return ((i + 1) * splits + pieces - 1) / pieces - 1;
}

struct Share {
  AttentionArguments arguments;
  StepView step;
  KvView kv;
  const std::int32_t* row_list;
  std::uint32_t rows, splits;
  std::uint32_t units_per_kv;  // a KV head's query heads are dealt out to this many units
  float* sums;                 // [rows][heads][splits][dim], then tops and weights below
  float2* states;              // [rows][heads][splits] {largest score, sum of weights}
};

// A slot of the sequence in the pages.
struct Place {
  std::uint32_t page, in_page;
  std::int32_t position;
};

// Block (split, units, row). kLanes lanes hold a slot's row, so that a warp reads 32 / kLanes slots at once and kRows times as many before
// it computes: 8 KB in flight per warp at head_dim 128. Each group of kLanes lanes has its own softmax until the end. The number of splits
// does not depend on the context, so that a captured graph serves growing contexts.
template <int kLanes, int kQueries, bool kWhole>
__global__ void __launch_bounds__(kThreads, kQueries == 1 ? 2 : 1) attend_share(Share share) {
  constexpr int kGroups = kWarp / kLanes;
  constexpr int kRows = kLanes >= 4 ? 2 : 1;
  constexpr std::uint32_t kSlots = kRows * kGroups;  // divides kPiece
  __shared__ __align__(16) float shared_acc[kUnits * kSharers][kQueries][16 * kLanes];
  __shared__ float2 shared_state[kUnits * kSharers][kQueries];

  let_next_start();
  wait_for_previous();
  const StepView& step = share.step;
  const KvView& kv = share.kv;
  const std::uint32_t lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, sharer = warp % kSharers;
  const std::uint32_t dim = kv.head_dim, half = dim / 2;
  const std::uint32_t per_kv = share.arguments.heads / kv.kv_heads;
  const std::uint32_t unit = blockIdx.y * kUnits + warp / kSharers;
  const std::uint32_t kv_head = unit / share.units_per_kv, first_query = unit % share.units_per_kv * kQueries;
  const std::uint32_t row = static_cast<std::uint32_t>(share.row_list[blockIdx.z]);
  const std::uint32_t visible = static_cast<std::uint32_t>(step.visible[row]);
  const std::uint32_t pieces = (visible + kPiece - 1) / kPiece;
  const std::uint32_t begin = pieces * blockIdx.x / share.splits * kPiece;
  const std::uint32_t end = min(visible, pieces * (blockIdx.x + 1) / share.splits * kPiece);
  const std::uint32_t* pages = step.page_table + static_cast<std::size_t>(step.sequence[row]) * step.table_stride;
  const std::int32_t row_group = share.arguments.grouped ? step.group[row] : -1;
  const Columns<kWhole> columns{lane % kLanes * 8, half};

  Softmax state[kQueries];
  if (kv_head < kv.kv_heads && begin < end) {
    float q[kQueries][16];
#pragma unroll
    for (int g = 0; g < kQueries; ++g) {
      const std::uint32_t head = kv_head * per_kv + min(first_query + g, per_kv - 1);
      const float* p = share.arguments.q + (std::size_t{row} * share.arguments.heads + head) * dim;
      columns.load(p, q[g]);
      columns.load(p + half, q[g] + 8);
#pragma unroll
      for (int i = 0; i < 16; ++i) q[g][i] *= kLog2E;
    }
    // Where the lane's slots of the round at `slot` are. Past the end the last slot is read again, for nothing.
    const auto locate = [&](std::uint32_t slot, Place(&places)[kRows]) {
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        const std::uint32_t at = min(slot + r * kGroups + lane / kLanes, end - 1);
        places[r].page = pages[at / kPageSlots];
        places[r].in_page = at % kPageSlots;
        places[r].position = kv.positions[places[r].page * kPageSlots + places[r].in_page];
      }
    };
    Place places[kRows];
    locate(begin + sharer * kSlots, places);
    for (std::uint32_t slot = begin + sharer * kSlots; slot < end; slot += kSharers * kSlots) {
      std::uint32_t k[kRows][8], v[kRows][8];
      std::size_t angle[kRows];
      bool seen[kRows];
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        const Place& place = places[r];
        seen[r] = slot + r * kGroups + lane / kLanes < end;
        angle[r] = static_cast<std::size_t>(place.position) * half;
        columns.load(kv.block(place.page, share.arguments.layer, false, kv_head) + place.in_page * dim, k[r]);
        columns.load(kv.block(place.page, share.arguments.layer, true, kv_head) + place.in_page * dim, v[r]);
        if (row_group >= 0) seen[r] = seen[r] && sees(row_group, kv.groups[place.page * kPageSlots + place.in_page]);
      }
      // A round ahead: the angles' loads would otherwise wait for the positions and hold up those behind them.
      locate(slot + kSharers * kSlots, places);
      float scores[kQueries][kRows];
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        float c[8], s[8], x[16];
        columns.load(share.arguments.rope.cos + angle[r], c);
        columns.load(share.arguments.rope.sin + angle[r], s);
        unpack(k[r], x);
#pragma unroll
        for (int i = 0; i < 8; ++i) {
          const float a = x[i], b = x[8 + i];
          x[i] = a * c[i] - b * s[i];
          x[8 + i] = b * c[i] + a * s[i];
        }
#pragma unroll
        for (int g = 0; g < kQueries; ++g) {
          float dot = 0;
#pragma unroll
          for (int i = 0; i < 16; ++i) dot += q[g][i] * x[i];
#pragma unroll
          for (int distance = kLanes / 2; distance > 0; distance /= 2) dot += __shfl_xor_sync(kAllLanes, dot, distance);
          scores[g][r] = seen[r] ? dot : -INFINITY;
        }
      }
#pragma unroll
      for (int g = 0; g < kQueries; ++g) {
        float top = scores[g][0];
#pragma unroll
        for (int r = 1; r < kRows; ++r) top = fmaxf(top, scores[g][r]);
        const float own = state[g].join(top).x, shift = shift_of(state[g].top);
        state[g].sum *= own;
#pragma unroll
        for (int i = 0; i < 16; ++i) state[g].acc[i] *= own;
#pragma unroll
        for (int r = 0; r < kRows; ++r) state[g].sum += scores[g][r] = exp2f(scores[g][r] - shift);
      }
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        float x[16];
        unpack(v[r], x);
#pragma unroll
        for (int g = 0; g < kQueries; ++g) {
#pragma unroll
          for (int i = 0; i < 16; ++i) state[g].acc[i] += scores[g][r] * x[i];
        }
      }
    }
  }

  // The warp's groups of lanes, then the warps, become one.
#pragma unroll
  for (int g = 0; g < kQueries; ++g) {
#pragma unroll
    for (int distance = kLanes; distance < kWarp; distance *= 2) {
      const float2 factors = state[g].join(__shfl_xor_sync(kAllLanes, state[g].top, distance));
      state[g].sum = state[g].sum * factors.x + __shfl_xor_sync(kAllLanes, state[g].sum, distance) * factors.y;
#pragma unroll
      for (int i = 0; i < 16; ++i) {
        state[g].acc[i] = state[g].acc[i] * factors.x + __shfl_xor_sync(kAllLanes, state[g].acc[i], distance) * factors.y;
      }
    }
    if (lane < kLanes) {
      columns.store(state[g].acc, shared_acc[warp][g]);
      columns.store(state[g].acc + 8, shared_acc[warp][g] + half);
      if (lane == 0) shared_state[warp][g] = make_float2(state[g].top, state[g].sum);
    }
  }
  __syncthreads();
  for (std::uint32_t i = threadIdx.x; i < kUnits * kQueries * dim; i += kThreads) {
    const std::uint32_t d = i % dim, query = i / dim % kQueries, u = i / dim / kQueries;
    const std::uint32_t of_kv = (blockIdx.y * kUnits + u) / share.units_per_kv;
    const std::uint32_t in_kv = (blockIdx.y * kUnits + u) % share.units_per_kv * kQueries + query;
    if (of_kv >= kv.kv_heads || in_kv >= per_kv) continue;
    float top = -INFINITY, sum = 0, acc = 0;
    for (std::uint32_t w = u * kSharers; w < (u + 1) * kSharers; ++w) top = fmaxf(top, shared_state[w][query].x);
    for (std::uint32_t w = u * kSharers; w < (u + 1) * kSharers; ++w) {
      const float factor = exp2f(shared_state[w][query].x - shift_of(top));
      sum += shared_state[w][query].y * factor;
      acc += shared_acc[w][query][d] * factor;
    }
    if (begin >= end) continue;  // nobody reads an empty split
    const std::size_t out = (std::size_t{blockIdx.z} * share.arguments.heads + of_kv * per_kv + in_kv) * share.splits + blockIdx.x;
    share.sums[out * dim + d] = acc;
    if (d == 0) share.states[out] = make_float2(top, sum);
  }
}

// Block (head, row): the splits that are not empty, in order. Latency is the cost: a lane takes a split's weight, then all loads of the
// sums are independent of each other.
__global__ void __launch_bounds__(kCombineThreads) combine_shares(Share share) {
  __shared__ float factors[kMostSplits];
  let_next_start();
  wait_for_previous();
  const std::uint32_t dim = share.kv.head_dim, d = 4 * threadIdx.x, lane = threadIdx.x % kWarp;
  const std::uint32_t row = static_cast<std::uint32_t>(share.row_list[blockIdx.y]);
  const std::uint32_t pieces = (static_cast<std::uint32_t>(share.step.visible[row]) + kPiece - 1) / kPiece;
  // With fewer pieces than splits every piece has a split to itself, and the others are empty wherever they lie.
  const std::size_t first = (std::size_t{blockIdx.y} * share.arguments.heads + blockIdx.x) * share.splits;
  const std::uint32_t used = min(pieces, share.splits);
  const auto split_at = [&](std::uint32_t i) { return first + (pieces < share.splits ? split_of_piece(i, pieces, share.splits) : i); };
  float top = -INFINITY, sum = 0;
  for (std::uint32_t i = lane; i < used; i += kWarp) top = fmaxf(top, share.states[split_at(i)].x);
  top = warp_max(top);
  const float shift = shift_of(top);
  for (std::uint32_t i = lane; i < used; i += kWarp) {
    const float2 state = share.states[split_at(i)];
    const float factor = exp2f(state.x - shift);
    if (threadIdx.x < kWarp) factors[i] = factor;
    sum += state.y * factor;
  }
  sum = warp_sum(sum);
  __syncthreads();
  if (d >= dim) return;
  float4 acc = make_float4(0, 0, 0, 0);
#pragma unroll 8
  for (std::uint32_t i = 0; i < used; ++i) {
    const float4 x = *reinterpret_cast<const float4*>(share.sums + split_at(i) * dim + d);
    const float factor = factors[i];
    acc.x += x.x * factor, acc.y += x.y * factor, acc.z += x.z * factor, acc.w += x.w * factor;
  }
  const float inverse = sum > 0 ? 1 / sum : 0.0f;
  const float4 y = make_float4(acc.x * inverse, acc.y * inverse, acc.z * inverse, acc.w * inverse);
  const std::size_t out = (std::size_t{row} * share.arguments.heads + blockIdx.x) * dim + d;
  if (share.arguments.out_f32 != nullptr) *reinterpret_cast<float4*>(share.arguments.out_f32 + out) = y;
  if (share.arguments.out_half != nullptr) {
    const HalfType type = share.arguments.half_type;
    *reinterpret_cast<uint2*>(share.arguments.out_half + out) = make_uint2(pack_half(y.x, y.y, type), pack_half(y.z, y.w, type));
  }
}

template <int kLanes, bool kWhole>
auto kernel_for(std::uint32_t queries) {
  return queries == 1   ? attend_share<kLanes, 1, kWhole>
         : queries == 2 ? attend_share<kLanes, 2, kWhole>
         : queries == 3 ? attend_share<kLanes, 3, kWhole>
                        : attend_share<kLanes, 4, kWhole>;
}

}  // namespace

std::size_t attention_vec_workspace(std::uint32_t rows, std::uint32_t heads, std::uint32_t head_dim, std::uint32_t splits) {
  return std::size_t{rows} * heads * splits * (head_dim + 2);
}

void attention_vec(Stream stream, const AttentionArguments& arguments, const StepView& step, const std::int32_t* row_list,
                   std::uint32_t rows, std::uint32_t splits, const KvView& kv, float* workspace) {
  GS_CHECK(kv.head_dim % 8 == 0 && kv.head_dim <= 256 && arguments.heads % kv.kv_heads == 0 && splits > 0 && splits <= kMostSplits &&
           rows <= 65535);
  if (rows == 0) return;
  const std::uint32_t per_kv = arguments.heads / kv.kv_heads;
  const std::uint32_t units_per_kv = static_cast<std::uint32_t>(ceil_div(per_kv, kMostQueries));
  const std::uint32_t queries = static_cast<std::uint32_t>(ceil_div(per_kv, units_per_kv));
  float* sums = workspace;
  float2* states = reinterpret_cast<float2*>(sums + std::size_t{rows} * arguments.heads * splits * kv.head_dim);
  const Share share{arguments, step, kv, row_list, rows, splits, units_per_kv, sums, states};
  const auto kernel = kv.head_dim == 16    ? kernel_for<1, true>(queries)
                      : kv.head_dim == 32  ? kernel_for<2, true>(queries)
                      : kv.head_dim == 64  ? kernel_for<4, true>(queries)
                      : kv.head_dim == 128 ? kernel_for<8, true>(queries)
                      : kv.head_dim == 256 ? kernel_for<16, true>(queries)
                                           : kernel_for<16, false>(queries);
  const dim3 grid(splits, static_cast<unsigned>(ceil_div(kv.kv_heads * units_per_kv, kUnits)), rows);
  launch_overlapped(kernel, grid, dim3(kThreads), 0, stream, share);
  launch_overlapped(combine_shares, dim3(arguments.heads, rows), dim3(kCombineThreads), 0, stream, share);
}

}  // namespace gritstone::cuda
