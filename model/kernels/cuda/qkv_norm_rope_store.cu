// The step between the QKV product and attention: norms, clamping, RoPE on q, and K and V to their slots.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "model/kernels/cuda/attention_lanes.cuh"
#include "model/kernels/cuda/device.h"
#include "model/kernels/cuda/ops.h"
#include "model/kernels/cuda/rope.cuh"
#include "model/kernels/cuda/warp.cuh"

namespace gritstone::cuda {
namespace {

constexpr std::uint32_t kMostThreads = 256;  // of a row
constexpr std::uint32_t kMostRows = 4;       // of a block

enum Part : std::uint32_t { kQuery, kKey, kValue, kParts };

// Rotation pairs that a thread takes at a time: their first and their second halves are 16 bytes each.
template <typename Input>
inline constexpr std::uint32_t kPairs = 16 / sizeof(Input);

struct Unit {
  uint4 first, second;
};

__device__ void unpack(uint4 words, HalfType, float (&x)[4]) {
  const std::uint32_t w[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) x[i] = __uint_as_float(w[i]);
}
__device__ void unpack(uint4 words, HalfType type, float (&x)[8]) {
  const std::uint32_t w[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float2 two = unpack_half(w[i], type);
    x[2 * i] = two.x;
    x[2 * i + 1] = two.y;
  }
}

template <std::uint32_t kCount>
__device__ void load(const float* p, float (&x)[kCount]) {
#pragma unroll
  for (std::uint32_t i = 0; i < kCount; i += 4) {
    const float4 four = *reinterpret_cast<const float4*>(p + i);
    x[i] = four.x, x[i + 1] = four.y, x[i + 2] = four.z, x[i + 3] = four.w;
  }
}
template <std::uint32_t kCount>
__device__ void store(float* p, const float (&x)[kCount]) {
#pragma unroll
  for (std::uint32_t i = 0; i < kCount; i += 4) *reinterpret_cast<float4*>(p + i) = make_float4(x[i], x[i + 1], x[i + 2], x[i + 3]);
}
__device__ std::uint32_t packed(const bf16*, float low, float high) { return pack_bf16(low, high); }
__device__ std::uint32_t packed(const __half*, float low, float high) { return pack_f16(low, high); }
template <typename Half, std::uint32_t kCount>
__device__ void store(Half* p, const float (&x)[kCount]) {
  std::uint32_t words[kCount / 2];
#pragma unroll
  for (std::uint32_t i = 0; i < kCount / 2; ++i) words[i] = packed(p, x[2 * i], x[2 * i + 1]);
  if constexpr (kCount == 8) {
    *reinterpret_cast<uint4*>(p) = make_uint4(words[0], words[1], words[2], words[3]);
  } else {
    *reinterpret_cast<uint2*>(p) = make_uint2(words[0], words[1]);
  }
}

// What is read back from a page of bf16.
__device__ float bf16_rounded(float x) { return bf16_low(pack_bf16(x, x)); }

// Sum over the threads of a row in a fixed order, in every one of them. Called at most once by a kernel; more than a warp: all of the
// block.
__device__ float row_sum(float x) {
  __shared__ float sums[kMostThreads / kWarp];
  x = warp_sum(x);
  if (blockDim.x == kWarp) return x;
  if (threadIdx.x % kWarp == 0) sums[threadIdx.x / kWarp] = x;
  __syncthreads();
  float total = 0;
  for (std::uint32_t i = 0; i < blockDim.x / kWarp; ++i) total += sums[i];
  return total;
}

// Thread x of row y; a part of a row for each blockIdx.x, since the parts do not need each other. The bytes limit the kernel with many
// rows: 117 MB with K twice at 4,096 rows of three times 2,048 in two bytes, 39 us at 3 TB/s. A row is read once, into registers, kHeld
// units a thread: with one, latency is least, with four, most is under way. qkv: one of the arguments' two.
template <typename Input, std::uint32_t kHeld>
__global__ void __launch_bounds__(kMostThreads) store_rows(const Input* qkv, QkvArguments arguments, StepView step, std::uint32_t rows,
                                                           KvView kv, std::uint32_t layer, float query_scale) {
  let_next_start();
  wait_for_previous();
  constexpr std::uint32_t kCount = kPairs<Input>;
  const std::uint32_t part = blockIdx.x, row = blockIdx.y * blockDim.y + threadIdx.y;
  if (row >= rows || (part == kQuery && arguments.q == nullptr && arguments.q_half == nullptr)) return;
  const HalfType type = arguments.qkv_type;
  const std::uint32_t dim = kv.head_dim, half = dim / 2;
  const std::uint32_t q_width = arguments.heads * dim, kv_width = kv.kv_heads * dim;
  const std::uint32_t width = part == kQuery ? q_width : kv_width, units = width / (2 * kCount), in_head = half / kCount;
  const Input* x = qkv + std::size_t{row} * (q_width + 2 * kv_width) + (part == kQuery ? 0 : q_width + (part - kKey) * kv_width);
  const float* weight = part == kQuery ? arguments.q_norm : part == kKey ? arguments.k_norm : nullptr;
  const auto first_of = [&](std::uint32_t unit) {
    return unit / in_head * dim + unit % in_head * kCount * (arguments.interleaved ? 2 : 1);
  };
  const std::uint32_t to_second = arguments.interleaved ? kCount : half;

  Unit held[kHeld];
#pragma unroll
  for (std::uint32_t i = 0; i < kHeld; ++i) {
    const std::uint32_t unit = threadIdx.x + i * blockDim.x;
    if (unit >= units) continue;
    const Input* p = x + first_of(unit);
    held[i] = {*reinterpret_cast<const uint4*>(p), *reinterpret_cast<const uint4*>(p + to_second)};
  }
  // Each of these waits for the one before, and none for the row.
  const std::uint32_t slot = static_cast<std::uint32_t>(step.slot[row]);
  const std::size_t sequence = static_cast<std::size_t>(step.sequence[row]);
  const std::uint32_t page = step.page_table[sequence * step.table_stride + slot / kPageSlots];
  const std::int32_t key_first = arguments.keys != nullptr ? arguments.key_first[sequence] : -1;
  const std::size_t angle = static_cast<std::size_t>(step.position[row]) * half;
  if (layer == 0 && part == kKey && threadIdx.x == 0) {
    kv.positions[page * kPageSlots + slot % kPageSlots] = step.position[row];
    kv.groups[page * kPageSlots + slot % kPageSlots] = step.group[row];
  }

  float factor = 1;
  if (weight != nullptr) {
    float sum = 0;
#pragma unroll
    for (std::uint32_t i = 0; i < kHeld; ++i) {
      if (threadIdx.x + i * blockDim.x >= units) continue;
      float a[kCount], b[kCount];
      unpack(held[i].first, type, a);
      unpack(held[i].second, type, b);
#pragma unroll
      for (std::uint32_t j = 0; j < kCount; ++j) sum += a[j] * a[j] + b[j] * b[j];
    }
    factor = rsqrtf(row_sum(sum) / static_cast<float>(width) + arguments.eps);
  }

#pragma unroll
  for (std::uint32_t i = 0; i < kHeld; ++i) {
    const std::uint32_t unit = threadIdx.x + i * blockDim.x;
    if (unit >= units) continue;
    const std::uint32_t head = unit / in_head, pair = unit % in_head * kCount, first = first_of(unit);
    float values[2][kCount];
    unpack(held[i].first, type, values[0]);
    unpack(held[i].second, type, values[1]);
#pragma unroll
    for (int side = 0; side < 2; ++side) {
      float w[kCount];
      if (weight != nullptr) load(weight + first + side * to_second, w);
#pragma unroll
      for (std::uint32_t j = 0; j < kCount; ++j) {
        if (weight != nullptr) values[side][j] = values[side][j] * factor * w[j];
        if (arguments.clip > 0) values[side][j] = fminf(fmaxf(values[side][j], -arguments.clip), arguments.clip);
      }
    }
    // V has no pairs: its columns stay where they are.
    std::uint32_t column = pair, other = half + pair;
    if (arguments.interleaved && part == kValue) {
      column = 2 * pair;
      other = column + kCount;
    } else if (arguments.interleaved) {
      float split[2][kCount];
#pragma unroll
      for (std::uint32_t j = 0; j < 2 * kCount; ++j) split[j % 2][j / 2] = values[j / kCount][j % kCount];
#pragma unroll
      for (std::uint32_t j = 0; j < kCount; ++j) values[0][j] = split[0][j], values[1][j] = split[1][j];
    }
    if (part == kQuery) {
      float c[kCount], s[kCount], low[kCount], high[kCount];
      load(arguments.rope.cos + angle + pair, c);
      load(arguments.rope.sin + angle + pair, s);
#pragma unroll
      for (std::uint32_t j = 0; j < kCount; ++j) {
        const float2 turned = rotated(values[0][j], values[1][j], c[j], s[j]);
        low[j] = turned.x * query_scale;
        high[j] = turned.y * query_scale;
      }
      const std::size_t out = std::size_t{row} * q_width + head * dim;
      if (arguments.q != nullptr) {
        store(arguments.q + out + column, low);
        store(arguments.q + out + other, high);
      }
      if (arguments.q_half != nullptr) {
        // As the tiles' products take q: for powers of two.
#pragma unroll
        for (std::uint32_t j = 0; j < kCount; ++j) low[j] *= kLog2E, high[j] *= kLog2E;
        store(arguments.q_half + out + column, low);
        store(arguments.q_half + out + other, high);
      }
      continue;
    }
    bf16* out = kv.block(page, layer, part == kValue, head) + slot % kPageSlots * dim;
    store(out + column, values[0]);
    store(out + other, values[1]);
    if (part == kKey && key_first >= 0) {
      float c[kCount], s[kCount], low[kCount], high[kCount];
      load(arguments.rope.cos + angle + pair, c);
      load(arguments.rope.sin + angle + pair, s);
#pragma unroll
      for (std::uint32_t j = 0; j < kCount; ++j) {
        const float2 turned = rotated(bf16_rounded(values[0][j]), bf16_rounded(values[1][j]), c[j], s[j]);
        low[j] = turned.x;
        high[j] = turned.y;
      }
      const std::size_t block = static_cast<std::size_t>(key_first) + slot / kPageSlots;
      __half* keys = arguments.keys + ((block * kv.kv_heads + head) * kPageSlots + slot % kPageSlots) * dim;
      store(keys + column, low);
      store(keys + other, high);
    }
    if (arguments.probe != nullptr) {
      float* probe = arguments.probe + (2 * std::size_t{row} + (part - kKey)) * kv_width + head * dim;
      store(probe + column, values[0]);
      store(probe + other, values[1]);
    }
  }
}

// rows: the first rows of the step.
template <std::uint32_t kHeld, typename Input>
void launch_store_rows(Stream stream, const Input* qkv, const QkvArguments& arguments, const StepView& step, std::uint32_t rows,
                       const KvView& kv, std::uint32_t layer) {
  constexpr std::uint32_t kWidth = 2 * kPairs<Input> * kHeld;  // of a thread
  GS_CHECK(kv.head_dim % (2 * kPairs<Input>) == 0);
  const std::size_t width = std::size_t{std::max(arguments.heads, kv.kv_heads)} * kv.head_dim;
  const auto threads = static_cast<unsigned>(ceil_div(width, kWidth * kWarp) * kWarp);
  GS_CHECK(threads <= kMostThreads);
  const unsigned beside = threads == kWarp ? kMostRows : 1;
  launch_overlapped(store_rows<Input, kHeld>, dim3(kParts, static_cast<unsigned>(ceil_div(rows, beside))), dim3(threads, beside), 0, stream,
                    qkv, arguments, step, rows, kv, layer, 1.0f / std::sqrt(static_cast<float>(kv.head_dim)));
}

}  // namespace

void qkv_norm_rope_store(Stream stream, const QkvArguments& arguments, const StepView& step, std::uint32_t rows, const KvView& kv,
                         std::uint32_t layer) {
  GS_CHECK((arguments.qkv == nullptr) != (arguments.qkv_half == nullptr));
  GS_CHECK(rows <= step.rows && rows <= 65535);
  if (rows == 0) return;
  if (arguments.qkv_half != nullptr) {
    launch_store_rows<4>(stream, arguments.qkv_half, arguments, step, rows, kv, layer);
  } else if (std::max(arguments.heads, kv.kv_heads) * kv.head_dim <= 2 * kPairs<float> * kMostThreads) {
    launch_store_rows<1>(stream, arguments.qkv, arguments, step, rows, kv, layer);
  } else {
    launch_store_rows<4>(stream, arguments.qkv, arguments, step, rows, kv, layer);
  }
}

}  // namespace gritstone::cuda
