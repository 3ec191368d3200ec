// K of whole sequences, rotated to the positions of its slots: what attention_tiles multiplies with. As f16, whose rounding is an eighth of
// bf16's: K was rounded to bf16 once, for its page.
#include "base/error.h"
#include "model/kernels/cuda/device.h"
#include "model/kernels/cuda/ops.h"
#include "model/kernels/cuda/warp.cuh"

namespace gritstone::cuda {
namespace {

constexpr int kThreads = 256;
// Heads that a thread takes with the same angles, whose f32 tables would otherwise be twice the bytes of K.
constexpr std::uint32_t kHeads = 4;

__device__ std::uint32_t rotated_first(std::uint32_t a, std::uint32_t b, float2 c, float2 s) {
  return pack_f16(bf16_low(a) * c.x - bf16_low(b) * s.x, bf16_high(a) * c.y - bf16_high(b) * s.y);
}
__device__ std::uint32_t rotated_second(std::uint32_t a, std::uint32_t b, float2 c, float2 s) {
  return pack_f16(bf16_low(b) * c.x + bf16_low(a) * s.x, bf16_high(b) * c.y + bf16_high(a) * s.y);
}

// Block (four heads, 64 slots): a thread takes eight rotation pairs of a slot. Bytes are the cost: 2 for every K element in, 2 out.
__global__ void __launch_bounds__(kThreads)
    rotate_block(const KeyBlock* block_list, StepView step, KvView kv, std::uint32_t layer, RopeView rope, __half* keys) {
  let_next_start();
  wait_for_previous();
  const KeyBlock block = block_list[blockIdx.y];
  const std::uint32_t dim = kv.head_dim, half = dim / 2, units = half / 8;
  const std::uint32_t head_begin = blockIdx.x * kHeads;
  const std::size_t table = static_cast<std::size_t>(block.sequence) * step.table_stride;
  const std::uint32_t page = step.page_table[table + static_cast<std::size_t>(block.block)];
  for (std::uint32_t i = threadIdx.x; i < kPageSlots * units; i += kThreads) {
    const std::uint32_t slot = i / units, pair = i % units * 8;
    const bool used = slot < static_cast<std::uint32_t>(block.slots);
    float2 c[4] = {}, s[4] = {};
    if (used) {
      const std::size_t angle = static_cast<std::size_t>(kv.positions[page * kPageSlots + slot]) * half + pair;
      memcpy(c, __builtin_assume_aligned(rope.cos + angle, 16), sizeof(c));
      memcpy(s, __builtin_assume_aligned(rope.sin + angle, 16), sizeof(s));
    }
#pragma unroll
    for (std::uint32_t h = 0; h < kHeads; ++h) {
      const std::uint32_t head = head_begin + h;
      if (head >= kv.kv_heads) break;
      uint4 a = make_uint4(0, 0, 0, 0), b = a;
      if (used) {
        const bf16* row = kv.block(page, layer, false, head) + slot * dim + pair;
        a = *reinterpret_cast<const uint4*>(row);
        b = *reinterpret_cast<const uint4*>(row + half);
      }
      __half* out = keys + ((std::size_t{blockIdx.y} * kv.kv_heads + head) * kPageSlots + slot) * dim + pair;
      *reinterpret_cast<uint4*>(out) = make_uint4(rotated_first(a.x, b.x, c[0], s[0]), rotated_first(a.y, b.y, c[1], s[1]),
                                                  rotated_first(a.z, b.z, c[2], s[2]), rotated_first(a.w, b.w, c[3], s[3]));
      *reinterpret_cast<uint4*>(out + half) = make_uint4(rotated_second(a.x, b.x, c[0], s[0]), rotated_second(a.y, b.y, c[1], s[1]),
                                                         rotated_second(a.z, b.z, c[2], s[2]), rotated_second(a.w, b.w, c[3], s[3]));
    }
  }
}

}  // namespace

void rotate_keys(Stream stream, const KeyBlock* block_list, std::uint32_t blocks, const StepView& step, const KvView& kv,
                 std::uint32_t layer, const RopeView& rope, __half* keys) {
  GS_CHECK(kv.head_dim % 16 == 0 && blocks <= 65535);
  if (blocks == 0) return;
  launch_overlapped(rotate_block, dim3(static_cast<unsigned>(ceil_div(kv.kv_heads, kHeads)), blocks), dim3(kThreads), 0, stream, block_list,
                    step, kv, layer, rope, keys);
}

}  // namespace gritstone::cuda
