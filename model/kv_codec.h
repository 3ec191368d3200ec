// Between the planes of a span (base/kv_span.h) and rows of f32: for spans whose type is not that of the live cache.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/kv_span.h"
#include "model/kernels/vector_kernels.h"

namespace gritstone {

// The live format of a KV type. REQUIRES: type != kInt4.
KvFormat kv_format(KvType type) noexcept;

// rows [count, head_dim] = tokens [first, first + count) of the plane.
void decode_plane(const VectorKernels& kernels, const KvSpan& span, std::size_t layer, bool value, std::size_t head, std::size_t first,
                  std::size_t count, float* rows) noexcept;

// The same rows in a live type (not int4), one behind the other.
void convert_plane(const VectorKernels& kernels, const KvSpan& span, std::size_t layer, bool value, std::size_t head, std::size_t first,
                   std::size_t count, KvType live, std::uint8_t* out) noexcept;

// Writes a whole plane of `tokens` rows [tokens, head_dim]; `plane` has kv_plane_bytes.
// int4: the smallest and the largest value of a group become codes 0 and 15; both bounds are rounded to f16 first.
void encode_plane(const VectorKernels& kernels, KvType type, bool value, const float* rows, std::size_t tokens, std::size_t head_dim,
                  std::uint8_t* plane) noexcept;

// How far the K and V that a span holds for one layer are from others computed for the same tokens (Wants::kv_probe), per token: the sum
// of both squared distances, each relative to the mean square of its kind in `fresh`.
//   fresh  [span.tokens, 2 * kv_heads * head_dim]: K, then V
std::vector<float> span_deviations(const KvSpan& span, std::size_t layer, std::span<const float> fresh);

}  // namespace gritstone
