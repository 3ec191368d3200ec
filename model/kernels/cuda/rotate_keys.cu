// K of what a sequence had before the step, rotated to the positions of its slots: what attention_tiles multiplies with. As f16, whose
// rounding is an eighth of bf16's: K was rounded to bf16 once, for its page.
#include "base/error.h"
#include "model/kernels/cuda/device.h"
#include "model/kernels/cuda/ops.h"
#include "model/kernels/cuda/rope.cuh"
#include "model/kernels/cuda/warp.cuh"

namespace gritstone::cuda {
namespace {

constexpr int kThreads = 256;
// Heads that a thread takes with the same angles, whose f32 tables would otherwise be twice the bytes of K.
constexpr std::uint32_t kHeads = 4;

// Words of two first and of two second elements of pairs become words of f16.
__device__ void rotate_words(std::uint32_t& first, std::uint32_t& second, float2 c, float2 s) {
  const float2 low = rotated(bf16_low(first), bf16_low(second), c.x, s.x), high = rotated(bf16_high(first), bf16_high(second), c.y, s.y);
  first = pack_f16(low.x, high.x);
  second = pack_f16(low.y, high.y);
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
    if (used && (block.others[slot / 32] >> slot % 32 & 1) == 0) continue;
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
      __half* out = keys + ((static_cast<std::size_t>(block.at) * kv.kv_heads + head) * kPageSlots + slot) * dim + pair;
      rotate_words(a.x, b.x, c[0], s[0]);
      rotate_words(a.y, b.y, c[1], s[1]);
      rotate_words(a.z, b.z, c[2], s[2]);
      rotate_words(a.w, b.w, c[3], s[3]);
      *reinterpret_cast<uint4*>(out) = a;
      *reinterpret_cast<uint4*>(out + half) = b;
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
