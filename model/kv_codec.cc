#include "model/kv_codec.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "model/dtype.h"
#include "model/kernels/kernel_table.h"

namespace gritstone {
namespace {

// Where the parts of an int4 plane lie.
struct Int4Plane {
  std::size_t parameters;  // pairs of scale and minimum
  std::size_t row_bytes;

  Int4Plane(bool value, std::size_t tokens, std::size_t head_dim)
      : parameters(value ? tokens : int4_groups(tokens) * head_dim), row_bytes(kv_row_bytes(KvType::kInt4, head_dim)) {}
  std::size_t codes() const noexcept { return 4 * parameters; }  // offset
};

// Group a token of K belongs to, and the tokens of a group.
std::size_t group_of(std::size_t token, std::size_t groups) noexcept { return std::min(token / kInt4GroupTokens, groups - 1); }
std::size_t group_end(std::size_t group, std::size_t groups, std::size_t tokens) noexcept {
  return group + 1 == groups ? tokens : (group + 1) * kInt4GroupTokens;
}

struct Affine {
  std::uint16_t scale_bits, min_bits;
  float scale, min;
};

Affine affine(float low, float high) noexcept {
  Affine a{};
  a.min_bits = f32_to_f16(low);
  a.min = f16_to_f32(a.min_bits);
  a.scale_bits = f32_to_f16(std::max(0.0f, (high - a.min) / 15.0f));
  a.scale = f16_to_f32(a.scale_bits);
  return a;
}

unsigned code_of(const Affine& a, float x) noexcept {
  if (a.scale == 0.0f) return 0;
  return static_cast<unsigned>(std::clamp(std::nearbyint((x - a.min) / a.scale), 0.0f, 15.0f));
}

void put_code(std::uint8_t* row, std::size_t column, unsigned code) noexcept {
  std::uint8_t& byte = row[column / 32 * 16 + column % 16];
  byte = static_cast<std::uint8_t>(column % 32 < 16 ? (byte & 0xF0u) | code : (byte & 0x0Fu) | code << 4);
}

void put_f16(std::uint8_t* at, std::size_t index, std::uint16_t bits) noexcept { std::memcpy(at + 2 * index, &bits, 2); }

void encode_int4(bool value, const float* rows, std::size_t tokens, std::size_t dim, std::uint8_t* plane) noexcept {
  const Int4Plane layout(value, tokens, dim);
  std::uint8_t* scales = plane;
  std::uint8_t* mins = plane + 2 * layout.parameters;
  std::uint8_t* codes = plane + layout.codes();
  std::memset(codes, 0, tokens * layout.row_bytes);
  if (value) {
    for (std::size_t t = 0; t < tokens; ++t) {
      const float* row = rows + t * dim;
      const auto [low, high] = std::minmax_element(row, row + dim);
      const Affine a = affine(*low, *high);
      put_f16(scales, t, a.scale_bits);
      put_f16(mins, t, a.min_bits);
      for (std::size_t i = 0; i < dim; ++i) put_code(codes + t * layout.row_bytes, i, code_of(a, row[i]));
    }
    return;
  }
  const std::size_t groups = int4_groups(tokens);
  for (std::size_t g = 0, first = 0; g < groups; ++g) {
    const std::size_t end = group_end(g, groups, tokens);
    for (std::size_t i = 0; i < dim; ++i) {
      float low = rows[first * dim + i], high = low;
      for (std::size_t t = first; t < end; ++t) {
        low = std::min(low, rows[t * dim + i]);
        high = std::max(high, rows[t * dim + i]);
      }
      const Affine a = affine(low, high);
      put_f16(scales, g * dim + i, a.scale_bits);
      put_f16(mins, g * dim + i, a.min_bits);
      for (std::size_t t = first; t < end; ++t) put_code(codes + t * layout.row_bytes, i, code_of(a, rows[t * dim + i]));
    }
    first = end;
  }
}

// Calls sink(i, decode) for tokens first + i of the plane; decode(format, out) writes the row's head_dim values as f32 or bf16.
template <class Sink>
void for_int4_rows(const VectorKernels& kernels, bool value, const std::uint8_t* plane, std::size_t tokens, std::size_t dim,
                   std::size_t first, std::size_t count, const Sink& sink) noexcept {
  const Int4Plane layout(value, tokens, dim);
  // Copied out: a plane need not lie on an even address.
  const auto parameters = [&](std::size_t from, std::size_t n, std::vector<float>& scale, std::vector<float>& min) {
    thread_local std::vector<std::uint16_t> bits;
    bits.resize(2 * n);
    scale.resize(n);
    min.resize(n);
    std::memcpy(bits.data(), plane + 2 * from, 2 * n);
    std::memcpy(bits.data() + n, plane + 2 * (layout.parameters + from), 2 * n);
    kernels.f16_decode(bits.data(), scale.data(), n);
    kernels.f16_decode(bits.data() + n, min.data(), n);
  };
  thread_local std::vector<float> scale, min;
  const std::uint8_t* codes = plane + layout.codes() + first * layout.row_bytes;
  if (value) {
    parameters(first, count, scale, min);
    for (std::size_t t = 0; t < count; ++t) {
      sink(t, [&](KvFormat format, void* out) { kernels.int4_row(codes + t * layout.row_bytes, scale[t], min[t], format, out, dim); });
    }
    return;
  }
  const std::size_t groups = int4_groups(tokens);
  for (std::size_t t = 0; t < count;) {
    const std::size_t g = group_of(first + t, groups);
    const std::size_t end = std::min(group_end(g, groups, tokens) - first, count);
    parameters(g * dim, dim, scale, min);
    for (; t < end; ++t) {
      sink(t, [&](KvFormat format, void* out) {
        kernels.int4_columns(codes + t * layout.row_bytes, scale.data(), min.data(), format, out, dim);
      });
    }
  }
}

}  // namespace

KvFormat kv_format(KvType type) noexcept {
  switch (type) {
    case KvType::kF32:
      return KvFormat::kF32;
    case KvType::kBF16:
      return KvFormat::kBF16;
    case KvType::kInt8:
    case KvType::kInt4:
      break;
  }
  return KvFormat::kInt8;
}

void decode_plane(const VectorKernels& kernels, const KvSpan& span, std::size_t layer, bool value, std::size_t head, std::size_t first,
                  std::size_t count, float* rows) noexcept {
  const std::uint8_t* plane = span.plane(layer, value, head);
  const std::size_t dim = span.shape.head_dim;
  if (span.type == KvType::kInt4) {
    return for_int4_rows(kernels, value, plane, span.tokens, dim, first, count,
                         [&](std::size_t t, auto&& decode) { decode(KvFormat::kF32, rows + t * dim); });
  }
  const std::size_t row = kv_row_bytes(span.type, dim);
  for (std::size_t t = 0; t < count; ++t) kernels.kv_decode(kv_format(span.type), plane + (first + t) * row, rows + t * dim, dim);
}

void convert_plane(const VectorKernels& kernels, const KvSpan& span, std::size_t layer, bool value, std::size_t head, std::size_t first,
                   std::size_t count, KvType live, std::uint8_t* out) noexcept {
  const std::uint8_t* plane = span.plane(layer, value, head);
  const std::size_t dim = span.shape.head_dim, from_row = kv_row_bytes(span.type, dim), to_row = kv_row_bytes(live, dim);
  if (span.type == live) {
    std::memcpy(out, plane + first * from_row, count * from_row);
    return;
  }
  if (span.type == KvType::kInt8 && live == KvType::kBF16) return kernels.int8_to_bf16(plane + first * from_row, out, count, dim);
  // Row by row, so that what lies between decoding and encoding stays in the nearest cache.
  thread_local std::vector<float> x;
  x.resize(dim);
  const auto put = [&](std::size_t t) { kernels.kv_encode(kv_format(live), x.data(), out + t * to_row, dim); };
  if (span.type == KvType::kInt4) {
    return for_int4_rows(kernels, value, plane, span.tokens, dim, first, count, [&](std::size_t t, auto&& decode) {
      if (live == KvType::kBF16) return decode(KvFormat::kBF16, out + t * to_row);
      decode(KvFormat::kF32, x.data());
      put(t);
    });
  }
  for (std::size_t t = 0; t < count; ++t) {
    kernels.kv_decode(kv_format(span.type), plane + (first + t) * from_row, x.data(), dim);
    put(t);
  }
}

void encode_plane(const VectorKernels& kernels, KvType type, bool value, const float* rows, std::size_t tokens, std::size_t head_dim,
                  std::uint8_t* plane) noexcept {
  if (type == KvType::kInt4) return encode_int4(value, rows, tokens, head_dim, plane);
  const std::size_t row = kv_row_bytes(type, head_dim);
  for (std::size_t t = 0; t < tokens; ++t) kernels.kv_encode(kv_format(type), rows + t * head_dim, plane + t * row, head_dim);
}

std::vector<float> span_deviations(const KvSpan& span, std::size_t layer, std::span<const float> fresh) {
  const std::size_t dim = span.shape.head_dim, width = span.shape.kv_heads * dim;
  GS_CHECK(fresh.size() == span.tokens * 2 * width);
  const KernelTable kernels = select_kernels({});
  std::vector<float> deviations(span.tokens), rows(span.tokens * dim);
  for (const bool value : {false, true}) {
    std::vector<double> distance(span.tokens);
    double magnitude = 0;
    for (std::size_t head = 0; head < span.shape.kv_heads; ++head) {
      decode_plane(*kernels.vector, span, layer, value, head, 0, span.tokens, rows.data());
      for (std::size_t t = 0; t < span.tokens; ++t) {
        const float* x = fresh.data() + t * 2 * width + (value ? width : 0) + head * dim;
        float squares = 0, norm = 0;
        for (std::size_t i = 0; i < dim; ++i) {
          const float d = x[i] - rows[t * dim + i];
          squares += d * d;
          norm += x[i] * x[i];
        }
        distance[t] += static_cast<double>(squares);
        magnitude += static_cast<double>(norm);
      }
    }
    const double mean = magnitude / static_cast<double>(span.tokens);
    for (std::size_t t = 0; t < span.tokens; ++t) deviations[t] += mean > 0 ? static_cast<float>(distance[t] / mean) : 0.0f;
  }
  return deviations;
}

}  // namespace gritstone
