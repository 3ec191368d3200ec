// The step between the QKV product and attention: norms, clamping, RoPE on q, and K and V to their slots.
#include <cmath>

#include "base/error.h"
#include "model/kernels/cuda/attention_lanes.cuh"
#include "model/kernels/cuda/device.h"
#include "model/kernels/cuda/ops.h"
#include "model/kernels/cuda/warp.cuh"

namespace gritstone::cuda {
namespace {

constexpr int kThreads = 256;

enum Part : std::uint32_t { kQuery, kKey, kValue, kParts };

// Sum over the block in a fixed order, in every thread. Called at most once by a kernel.
__device__ float block_sum(float x) {
  __shared__ float sums[kThreads / kWarp];
  x = warp_sum(x);
  if (threadIdx.x % kWarp == 0) sums[threadIdx.x / kWarp] = x;
  __syncthreads();
  float total = 0;
  for (int i = 0; i < kThreads / kWarp; ++i) total += sums[i];
  return total;
}

__device__ float4 load4(const float* p) { return *reinterpret_cast<const float4*>(p); }
// Four of the products' outputs, f32 or two bytes.
__device__ float4 load4(const float* p, HalfType) { return load4(p); }
__device__ float4 load4(const half_bits* p, HalfType type) {
  const uint2 words = *reinterpret_cast<const uint2*>(p);
  const float2 low = unpack_half(words.x, type), high = unpack_half(words.y, type);
  return make_float4(low.x, low.y, high.x, high.y);
}
__device__ void store4(float* p, float4 x) { *reinterpret_cast<float4*>(p) = x; }
__device__ void store4(bf16* p, float4 x) { *reinterpret_cast<uint2*>(p) = make_uint2(pack_bf16(x.x, x.y), pack_bf16(x.z, x.w)); }
// As the tiles' products take q: for powers of two, f16.
__device__ void store4(__half* p, float4 x) {
  *reinterpret_cast<uint2*>(p) = make_uint2(pack_f16(x.x * kLog2E, x.y * kLog2E), pack_f16(x.z * kLog2E, x.w * kLog2E));
}
__device__ float squares(float4 x) { return x.x * x.x + x.y * x.y + x.z * x.z + x.w * x.w; }
__device__ float4 scaled(float4 x, float factor, float4 weight) {
  return make_float4(x.x * factor * weight.x, x.y * factor * weight.y, x.z * factor * weight.z, x.w * factor * weight.w);
}
__device__ float clamped(float x, float limit) { return fminf(fmaxf(x, -limit), limit); }
__device__ float4 clamped(float4 x, float limit) {
  return make_float4(clamped(x.x, limit), clamped(x.y, limit), clamped(x.z, limit), clamped(x.w, limit));
}

// Block (part, row): the parts of a row do not need each other. A thread takes four rotation pairs at a time. The row is read twice, for
// its norm and for its values; the second time it comes from the first-level cache. Bytes limit the kernel in prefill, latency in decode.
// qkv: one of the arguments' two.
template <typename Input>
__global__ void __launch_bounds__(kThreads)
    store_row(const Input* qkv, QkvArguments arguments, StepView step, KvView kv, std::uint32_t layer, float query_scale) {
  let_next_start();
  wait_for_previous();
  const std::uint32_t part = blockIdx.x, row = blockIdx.y;
  if (part == kQuery && arguments.q == nullptr && arguments.q_half == nullptr) return;
  // First, so that these loads, each of which waits for the one before, are under way with those of the row.
  const std::uint32_t slot = static_cast<std::uint32_t>(step.slot[row]);
  const std::uint32_t page = step.page_table[static_cast<std::size_t>(step.sequence[row]) * step.table_stride + slot / kPageSlots];
  const std::size_t position = static_cast<std::size_t>(step.position[row]);
  const HalfType type = arguments.qkv_type;
  const std::uint32_t dim = kv.head_dim, half = dim / 2;
  const std::uint32_t q_width = arguments.heads * dim, kv_width = kv.kv_heads * dim;
  const std::uint32_t width = part == kQuery ? q_width : kv_width;
  const Input* x = qkv + std::size_t{row} * (q_width + 2 * kv_width) + (part == kQuery ? 0 : q_width + (part - kKey) * kv_width);
  const float* weight = part == kQuery ? arguments.q_norm : part == kKey ? arguments.k_norm : nullptr;

  float factor = 1;
  if (weight != nullptr) {
    float sum = 0;
    for (std::uint32_t i = 4 * threadIdx.x; i < width; i += 4 * kThreads) sum += squares(load4(x + i, type));
    factor = rsqrtf(block_sum(sum) / static_cast<float>(width) + arguments.eps);
  }
  if (layer == 0 && part == kKey && threadIdx.x == 0) {
    kv.positions[page * kPageSlots + slot % kPageSlots] = step.position[row];
    kv.groups[page * kPageSlots + slot % kPageSlots] = step.group[row];
  }

  for (std::uint32_t unit = threadIdx.x; unit < width / 8; unit += kThreads) {
    const std::uint32_t head = unit / (half / 4), pair = unit % (half / 4) * 4;
    const std::uint32_t first = head * dim + pair * (arguments.interleaved ? 2 : 1);
    const std::uint32_t second = first + (arguments.interleaved ? 4 : half);
    float4 a = load4(x + first, type), b = load4(x + second, type);
    if (weight != nullptr) {
      a = scaled(a, factor, load4(weight + first));
      b = scaled(b, factor, load4(weight + second));
    }
    if (arguments.clip > 0) {
      a = clamped(a, arguments.clip);
      b = clamped(b, arguments.clip);
    }
    // V has no pairs: its columns stay where they are.
    std::uint32_t column = pair, other = half + pair;
    if (arguments.interleaved && part == kValue) {
      column = 2 * pair;
      other = column + 4;
    } else if (arguments.interleaved) {
      const float4 even = make_float4(a.x, a.z, b.x, b.z), odd = make_float4(a.y, a.w, b.y, b.w);
      a = even;
      b = odd;
    }
    if (part == kQuery) {
      const float4 c = load4(arguments.rope.cos + position * half + pair), s = load4(arguments.rope.sin + position * half + pair);
      const float4 low = make_float4((a.x * c.x - b.x * s.x) * query_scale, (a.y * c.y - b.y * s.y) * query_scale,
                                     (a.z * c.z - b.z * s.z) * query_scale, (a.w * c.w - b.w * s.w) * query_scale);
      const float4 high = make_float4((b.x * c.x + a.x * s.x) * query_scale, (b.y * c.y + a.y * s.y) * query_scale,
                                      (b.z * c.z + a.z * s.z) * query_scale, (b.w * c.w + a.w * s.w) * query_scale);
      const std::size_t out = std::size_t{row} * q_width + head * dim;
      if (arguments.q != nullptr) {
        store4(arguments.q + out + column, low);
        store4(arguments.q + out + other, high);
      }
      if (arguments.q_half != nullptr) {
        store4(arguments.q_half + out + column, low);
        store4(arguments.q_half + out + other, high);
      }
      continue;
    }
    bf16* out = kv.block(page, layer, part == kValue, head) + slot % kPageSlots * dim;
    store4(out + column, a);
    store4(out + other, b);
    if (arguments.probe != nullptr) {
      float* probe = arguments.probe + (2 * std::size_t{row} + (part - kKey)) * kv_width + head * dim;
      store4(probe + column, a);
      store4(probe + other, b);
    }
  }
}

}  // namespace

void qkv_norm_rope_store(Stream stream, const QkvArguments& arguments, const StepView& step, std::uint32_t rows, const KvView& kv,
                         std::uint32_t layer) {
  GS_CHECK((arguments.qkv == nullptr) != (arguments.qkv_half == nullptr));
  GS_CHECK(kv.head_dim % 8 == 0 && rows <= step.rows && rows <= 65535);
  if (rows == 0) return;
  const float query_scale = 1.0f / std::sqrt(static_cast<float>(kv.head_dim));
  const dim3 grid(kParts, rows);
  if (arguments.qkv_half != nullptr) {
    launch_overlapped(store_row<half_bits>, grid, dim3(kThreads), 0, stream, arguments.qkv_half, arguments, step, kv, layer, query_scale);
  } else {
    launch_overlapped(store_row<float>, grid, dim3(kThreads), 0, stream, arguments.qkv, arguments, step, kv, layer, query_scale);
  }
}

}  // namespace gritstone::cuda
