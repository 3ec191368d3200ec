// Everything but the matmuls: norms, activation functions, RoPE, KV rounding and attention, one table per ISA. All widths are padded or
// handled to the last element; no alignment is required unless stated.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gritstone {

// Slots of one KV page, and of one step of the online softmax. Counted from slot 0, so that results do not depend on how a prefill was
// split.
inline constexpr std::size_t kKvBlock = 64;
// Queries that share one decoding of a KV block.
inline constexpr std::size_t kQueryTile = 32;

enum class KvFormat : std::uint8_t { kF32, kBF16, kInt8 };

// One KV head's attention for a tile of queries. A KV row is head_dim elements of `format` (int8: an f32 scale first), `row_bytes` apart.
struct AttentionTask {
  KvFormat format = KvFormat::kBF16;
  std::size_t head_dim = 0;
  std::size_t row_bytes = 0;
  const std::uint8_t* const* k_blocks = nullptr;  // [blocks] first row of this layer and head in each page; K is not rotated
  const std::uint8_t* const* v_blocks = nullptr;
  const std::int32_t* slot_position = nullptr;  // [slots]
  const std::int32_t* slot_group = nullptr;     // [slots]; nullptr: no groups anywhere in the sequence
  const float* cos = nullptr;                   // [context, head_dim / 2]
  const float* sin = nullptr;
  std::size_t queries = 0;               // <= kQueryTile * heads per KV head
  const float* const* q = nullptr;       // [queries] rotated and multiplied with 1 / sqrt(head_dim)
  float* const* out = nullptr;           // [queries] head_dim each, overwritten
  const std::size_t* visible = nullptr;  // [queries] slots [0, visible) may be seen
  const std::int32_t* group = nullptr;   // [queries] -1: sees every group
  float* scratch = nullptr;              // attention_scratch() floats
};

struct VectorKernels {
  // y = x / sqrt(mean(x^2) + eps) * weight
  void (*rms_norm)(const float* x, const float* weight, float eps, float* y, std::size_t n) noexcept = nullptr;
  // gate = silu(gate) * up
  void (*silu_mul)(float* gate, const float* up, std::size_t n) noexcept = nullptr;
  // y += x
  void (*add)(float* y, const float* x, std::size_t n) noexcept = nullptr;
  // y += factor * x
  void (*add_scaled)(float* y, const float* x, float factor, std::size_t n) noexcept = nullptr;
  // Softmax of n values in place, f32.
  void (*softmax)(float* x, std::size_t n) noexcept = nullptr;
  // x[i], x[i + n/2] rotated by the angles of cos/sin [n/2], then multiplied with `factor`. n is even.
  void (*rope)(float* x, const float* cos, const float* sin, float factor, std::size_t n) noexcept = nullptr;
  // One KV row of a head in the live format, and back (without rotation).
  void (*kv_encode)(KvFormat format, const float* x, std::uint8_t* row, std::size_t n) noexcept = nullptr;
  void (*kv_decode)(KvFormat format, const std::uint8_t* row, float* x, std::size_t n) noexcept = nullptr;
  // `rows` int8 rows of a head as bf16 rows: the same bits as decoding and encoding, without the way through memory.
  void (*int8_to_bf16)(const std::uint8_t* in, std::uint8_t* out, std::size_t rows, std::size_t n) noexcept = nullptr;
  // A row of int4 codes (base/kv_span.h): x[i] = min + scale * code, with a pair per column or one for the row. `format`
  // of the result: kF32 or kBF16.
  void (*int4_columns)(const std::uint8_t* codes, const float* scale, const float* min, KvFormat format, void* out,
                       std::size_t n) noexcept = nullptr;
  void (*int4_row)(const std::uint8_t* codes, float scale, float min, KvFormat format, void* out, std::size_t n) noexcept = nullptr;
  void (*f16_decode)(const std::uint16_t* in, float* x, std::size_t n) noexcept = nullptr;
  void (*attention)(const AttentionTask& task) noexcept = nullptr;
};

// Floats of scratch an AttentionTask needs, for `queries` at most.
std::size_t attention_scratch(std::size_t head_dim, std::size_t queries) noexcept;

const VectorKernels& vector_kernels_scalar() noexcept;
const VectorKernels& vector_kernels_avx2() noexcept;
const VectorKernels& vector_kernels_avx512() noexcept;

}  // namespace gritstone
