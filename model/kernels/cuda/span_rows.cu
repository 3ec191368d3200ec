// Between a span's planes and the KV pages. Small next to the bus: a layer of 256 tokens of OLMoE is 2 MiB of bf16, a microsecond of HBM
// and 40 of PCIe.
#include "base/kv_span.h"
#include "model/kernels/cuda/device.h"
#include "model/kernels/cuda/ops.h"
#include "model/kernels/cuda/warp.cuh"

namespace gritstone::cuda {
namespace {

constexpr std::uint32_t kColumns = 8;  // of a thread: 16 bytes of a page
constexpr int kThreads = 256;

// A span's layer as the kernels need it. Planes begin at multiples of 4 bytes (of 16 for f32 and bf16), as head_dim is a multiple of 8.
struct Planes {
  const std::uint8_t* layer;
  std::size_t k_bytes, v_bytes;  // of a plane
  std::uint32_t tokens, groups;  // groups: of K in int4
  std::uint32_t row_bytes;
  std::uint32_t offset, length, slot;
  const std::uint32_t* pages;
};

__device__ float f16_at(const std::uint8_t* p) { return __half2float(*reinterpret_cast<const __half*>(p)); }

// Columns [column, column + 8) of a token of a plane.
template <KvType kType>
__device__ void decode_columns(const Planes& s, const std::uint8_t* plane, bool value, std::uint32_t head_dim, std::uint32_t token,
                               std::uint32_t column, float (&x)[kColumns]) {
  if constexpr (kType == KvType::kF32) {
    const float4* row = reinterpret_cast<const float4*>(plane + static_cast<std::size_t>(token) * s.row_bytes + 4 * column);
    const float4 a = row[0], b = row[1];
    const float all[kColumns] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
#pragma unroll
    for (std::uint32_t i = 0; i < kColumns; ++i) x[i] = all[i];
  } else if constexpr (kType == KvType::kInt8) {
    const std::uint8_t* row = plane + static_cast<std::size_t>(token) * s.row_bytes;
    const float scale = *reinterpret_cast<const float*>(row);
    const std::uint32_t* words = reinterpret_cast<const std::uint32_t*>(row + 4 + column);
#pragma unroll
    for (std::uint32_t i = 0; i < kColumns; ++i) {
      x[i] = static_cast<float>(static_cast<std::int8_t>(words[i / 4] >> (8 * (i % 4)) & 0xFFu)) * scale;
    }
  } else {
    const std::size_t parameters = value ? s.tokens : static_cast<std::size_t>(s.groups) * head_dim;
    const std::uint32_t group = min(token / static_cast<std::uint32_t>(kInt4GroupTokens), s.groups - 1);
    const std::uint8_t* scale = plane + 2 * (value ? token : static_cast<std::size_t>(group) * head_dim + column);
    const std::uint8_t* minimum = scale + 2 * parameters;
    const std::uint8_t* row = plane + 4 * parameters + static_cast<std::size_t>(token) * s.row_bytes;
    // Sixteen columns in the low nibbles of 16 bytes, the next sixteen in the high ones.
    const std::uint32_t* words = reinterpret_cast<const std::uint32_t*>(row + column / 32 * 16 + column % 16);
    const int shift = column % 32 < 16 ? 0 : 4;
#pragma unroll
    for (std::uint32_t i = 0; i < kColumns; ++i) {
      const std::uint32_t code = words[i / 4] >> (8 * (i % 4) + shift) & 15u, at = value ? 0 : 2 * i;
      x[i] = fmaf(static_cast<float>(code), f16_at(scale + at), f16_at(minimum + at));
    }
  }
}

// blockIdx.y: plane; a thread: 8 columns of a token.
template <KvType kType>
__global__ void __launch_bounds__(kThreads) store_span_rows_kernel(const Planes s, const KvView kv, std::uint32_t layer) {
  const std::uint32_t pieces = kv.head_dim / kColumns, i = blockIdx.x * kThreads + threadIdx.x;
  const std::uint32_t row = i / pieces, column = i % pieces * kColumns;
  if (row >= s.length) return;
  const bool value = blockIdx.y >= kv.kv_heads;
  const std::uint32_t head = value ? blockIdx.y - kv.kv_heads : blockIdx.y;
  const std::uint8_t* plane = s.layer + (value ? kv.kv_heads * s.k_bytes + head * s.v_bytes : head * s.k_bytes);
  const std::uint32_t token = s.offset + row, slot = s.slot + row;
  bf16* block = kv.block(s.pages[slot / kPageSlots], layer, value, head);
  uint4* out = reinterpret_cast<uint4*>(block + slot % kPageSlots * kv.head_dim + column);
  if constexpr (kType == KvType::kBF16) {
    *out = *reinterpret_cast<const uint4*>(plane + static_cast<std::size_t>(token) * s.row_bytes + 2 * column);
  } else {
    float x[kColumns];
    decode_columns<kType>(s, plane, value, kv.head_dim, token, column, x);
    *out = make_uint4(pack_bf16(x[0], x[1]), pack_bf16(x[2], x[3]), pack_bf16(x[4], x[5]), pack_bf16(x[6], x[7]));
  }
}

__global__ void __launch_bounds__(kThreads) place_slots_kernel(const std::uint32_t* pages, std::uint32_t first, std::uint32_t length,
                                                               std::int32_t position, std::int32_t group, const KvView kv) {
  const std::uint32_t i = blockIdx.x * kThreads + threadIdx.x;
  if (i >= length) return;
  const std::uint32_t slot = first + i;
  const std::size_t at = static_cast<std::size_t>(pages[slot / kPageSlots]) * kPageSlots + slot % kPageSlots;
  kv.positions[at] = position + static_cast<std::int32_t>(i);
  kv.groups[at] = group;
}

// blockIdx.y: plane of all layers; a thread: 8 columns of a slot.
__global__ void __launch_bounds__(kThreads)
    gather_span_kernel(const std::uint32_t* pages, std::uint32_t first, std::uint32_t count, const KvView kv, bf16* out) {
  const std::uint32_t pieces = kv.head_dim / kColumns, i = blockIdx.x * kThreads + threadIdx.x;
  const std::uint32_t row = i / pieces, column = i % pieces * kColumns;
  if (row >= count) return;
  const std::uint32_t layer = blockIdx.y / (2 * kv.kv_heads), plane = blockIdx.y % (2 * kv.kv_heads);
  const bool value = plane >= kv.kv_heads;
  const std::uint32_t slot = first + row;
  const bf16* block = kv.block(pages[slot / kPageSlots], layer, value, value ? plane - kv.kv_heads : plane);
  const std::size_t to = (static_cast<std::size_t>(blockIdx.y) * count + row) * kv.head_dim + column;
  *reinterpret_cast<uint4*>(out + to) = *reinterpret_cast<const uint4*>(block + slot % kPageSlots * kv.head_dim + column);
}

}  // namespace

void store_span_rows(Stream stream, const SpanRows& rows, const KvView& kv, std::uint32_t layer) {
  GS_CHECK(kv.head_dim % kColumns == 0 && rows.offset + rows.length <= rows.span_tokens);
  if (rows.length == 0) return;
  const KvType type = static_cast<KvType>(rows.type);
  Planes planes = {};
  planes.layer = rows.layer;
  planes.k_bytes = kv_plane_bytes(type, false, rows.span_tokens, kv.head_dim);
  planes.v_bytes = kv_plane_bytes(type, true, rows.span_tokens, kv.head_dim);
  planes.tokens = rows.span_tokens;
  planes.groups = static_cast<std::uint32_t>(int4_groups(rows.span_tokens));
  planes.row_bytes = static_cast<std::uint32_t>(kv_row_bytes(type, kv.head_dim));
  planes.offset = rows.offset;
  planes.length = rows.length;
  planes.slot = rows.slot;
  planes.pages = rows.pages;
  const auto run = [&](auto kernel) {
    const dim3 grid(static_cast<unsigned>(ceil_div(std::size_t{rows.length} * (kv.head_dim / kColumns), kThreads)), 2 * kv.kv_heads);
    launch(kernel, grid, dim3(kThreads), 0, stream, planes, kv, layer);
  };
  switch (type) {
    case KvType::kF32:
      return run(store_span_rows_kernel<KvType::kF32>);
    case KvType::kBF16:
      return run(store_span_rows_kernel<KvType::kBF16>);
    case KvType::kInt8:
      return run(store_span_rows_kernel<KvType::kInt8>);
    case KvType::kInt4:
      return run(store_span_rows_kernel<KvType::kInt4>);
  }
}

void place_slots(Stream stream, const std::uint32_t* pages, std::uint32_t slot, std::uint32_t length, std::int32_t position,
                 std::int32_t group, const KvView& kv) {
  if (length == 0) return;
  launch(place_slots_kernel, dim3(static_cast<unsigned>(ceil_div(length, kThreads))), dim3(kThreads), 0, stream, pages, slot, length,
         position, group, kv);
}

void gather_span(Stream stream, const std::uint32_t* pages, std::uint32_t slot, std::uint32_t count, const KvView& kv, bf16* out) {
  GS_CHECK(kv.head_dim % kColumns == 0);
  if (count == 0) return;
  const dim3 grid(static_cast<unsigned>(ceil_div(std::size_t{count} * (kv.head_dim / kColumns), kThreads)), kv.layers * 2 * kv.kv_heads);
  launch(gather_span_kernel, grid, dim3(kThreads), 0, stream, pages, slot, count, kv, out);
}

}  // namespace gritstone::cuda
