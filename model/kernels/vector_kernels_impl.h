// The kernels of vector_kernels.h over Vec16, compiled once per ISA: the including file has defined Vec16 and opened its target region, and
// names its table with GS_VECTOR_TABLE. Nothing but the other parts is included here, so that no library inline is compiled for the target.
//
// Determinism: every result is a fixed sequence of operations on its own inputs; nothing depends on the tile a query shares.

namespace gritstone {
namespace {

constexpr std::size_t kLanes = 16;

inline std::size_t padded(std::size_t n) noexcept { return (n + kLanes - 1) / kLanes * kLanes; }

// Lanes [n, 16) are `fill`.
inline Vec16 load_tail(const float* p, std::size_t n, float fill) noexcept {
  float lanes[kLanes];
  for (std::size_t i = 0; i < kLanes; ++i) lanes[i] = i < n ? p[i] : fill;
  return Vec16::load(lanes);
}

inline void store_tail(Vec16 v, float* p, std::size_t n) noexcept {
  float lanes[kLanes];
  v.store(lanes);
  for (std::size_t i = 0; i < n; ++i) p[i] = lanes[i];
}

// The first n (at least 1, of at most 16) lanes as bf16.
inline void store_bf16_tail(Vec16 v, std::uint8_t* p, std::size_t n) noexcept {
  if (n >= kLanes) return v.store_bf16(reinterpret_cast<std::uint16_t*>(p));
  std::uint16_t lanes[kLanes];
  v.store_bf16(lanes);
  __builtin_memcpy(p, lanes, n * 2);
}

// e^x within 2 ulp for x in [-87, 88]; clamped outside. Range reduction by ln 2 in two parts, then the Taylor series: its first dropped
// term is r^8 / 8! < 6e-9 for |r| <= ln(2) / 2.
inline Vec16 exp(Vec16 x) noexcept {
  x = Vec16::min(Vec16::max(x, Vec16::set1(-87.0f)), Vec16::set1(88.0f));
  const Vec16 n = Vec16::round(x * Vec16::set1(1.44269504f));
  Vec16 r = Vec16::fma(n, Vec16::set1(-0.693145752f), x);
  r = Vec16::fma(n, Vec16::set1(-1.42860677e-6f), r);
  Vec16 p = Vec16::set1(1.0f / 5040);
  p = Vec16::fma(p, r, Vec16::set1(1.0f / 720));
  p = Vec16::fma(p, r, Vec16::set1(1.0f / 120));
  p = Vec16::fma(p, r, Vec16::set1(1.0f / 24));
  p = Vec16::fma(p, r, Vec16::set1(1.0f / 6));
  p = Vec16::fma(p, r, Vec16::set1(0.5f));
  p = Vec16::fma(p, r, Vec16::set1(1.0f));
  p = Vec16::fma(p, r, Vec16::set1(1.0f));
  return Vec16::scale_pow2(p, n);
}

inline float exp_scalar(float x) noexcept {
  float lanes[kLanes];
  exp(Vec16::set1(x)).store(lanes);
  return lanes[0];
}

void rms_norm(const float* x, const float* weight, float eps, float* y, std::size_t n) noexcept {
  Vec16 sums[4] = {Vec16::set1(0), Vec16::set1(0), Vec16::set1(0), Vec16::set1(0)};
  std::size_t i = 0;
  for (std::size_t chunk = 0; i + kLanes <= n; i += kLanes, ++chunk) {
    const Vec16 v = Vec16::load(x + i);
    sums[chunk % 4] = Vec16::fma(v, v, sums[chunk % 4]);
  }
  if (i < n) {
    const Vec16 v = load_tail(x + i, n - i, 0.0f);
    sums[0] = Vec16::fma(v, v, sums[0]);
  }
  const float sum = ((sums[0] + sums[1]) + (sums[2] + sums[3])).sum();
  const Vec16 scale = Vec16::set1(1.0f / __builtin_sqrtf(sum / static_cast<float>(n) + eps));
  for (i = 0; i + kLanes <= n; i += kLanes) ((Vec16::load(x + i) * scale) * Vec16::load(weight + i)).store(y + i);
  if (i < n) store_tail((load_tail(x + i, n - i, 0.0f) * scale) * load_tail(weight + i, n - i, 0.0f), y + i, n - i);
}

inline Vec16 silu(Vec16 x) noexcept { return x / (Vec16::set1(1.0f) + exp(Vec16::set1(0.0f) - x)); }

void silu_mul(float* gate, const float* up, std::size_t n) noexcept {
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) (silu(Vec16::load(gate + i)) * Vec16::load(up + i)).store(gate + i);
  if (i < n) store_tail(silu(load_tail(gate + i, n - i, 0.0f)) * load_tail(up + i, n - i, 0.0f), gate + i, n - i);
}

void add(float* y, const float* x, std::size_t n) noexcept {
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) (Vec16::load(y + i) + Vec16::load(x + i)).store(y + i);
  for (; i < n; ++i) y[i] = y[i] + x[i];
}

void add_scaled(float* y, const float* x, float factor, std::size_t n) noexcept {
  const Vec16 f = Vec16::set1(factor);
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) Vec16::fma(f, Vec16::load(x + i), Vec16::load(y + i)).store(y + i);
  if (i < n) store_tail(Vec16::fma(f, load_tail(x + i, n - i, 0.0f), load_tail(y + i, n - i, 0.0f)), y + i, n - i);
}

constexpr float kMinusInfinity = -__builtin_inff();

void softmax(float* x, std::size_t n) noexcept {
  float top = kMinusInfinity;
  for (std::size_t i = 0; i < n; ++i) top = x[i] > top ? x[i] : top;
  const Vec16 shift = Vec16::set1(top);
  Vec16 sum = Vec16::set1(0.0f);
  for (std::size_t i = 0; i < n; i += kLanes) {
    const std::size_t width = n - i < kLanes ? n - i : kLanes;
    float lanes[kLanes];
    exp(load_tail(x + i, width, top) - shift).store(lanes);
    for (std::size_t j = width; j < kLanes; ++j) lanes[j] = 0.0f;
    for (std::size_t j = 0; j < width; ++j) x[i + j] = lanes[j];
    sum = sum + Vec16::load(lanes);
  }
  const float total = sum.sum();
  for (std::size_t i = 0; i < n; ++i) x[i] = x[i] / total;
}

void rope(float* x, const float* cos, const float* sin, float factor, std::size_t n) noexcept {
  const std::size_t half = n / 2;
  const Vec16 f = Vec16::set1(factor);
  std::size_t i = 0;
  for (; i + kLanes <= half; i += kLanes) {
    const Vec16 a = Vec16::load(x + i), b = Vec16::load(x + half + i), c = Vec16::load(cos + i), s = Vec16::load(sin + i);
    ((a * c - b * s) * f).store(x + i);
    ((b * c + a * s) * f).store(x + half + i);
  }
  for (; i < half; ++i) {
    const float a = x[i], b = x[half + i];
    x[i] = (a * cos[i] - b * sin[i]) * factor;
    x[half + i] = (b * cos[i] + a * sin[i]) * factor;
  }
}

}  // namespace
}  // namespace gritstone

#include "model/kernels/kv_kernels_impl.h"
// After the KV rows, which it reads.
#include "model/kernels/attention_kernels_impl.h"

namespace gritstone {
namespace {

constexpr VectorKernels kTable{rms_norm,  silu_mul,     add,          add_scaled, softmax,    rope,     kv_encode,
                               kv_decode, int8_to_bf16, int4_columns, int4_row,   f16_decode, attention};

}  // namespace

const VectorKernels& GS_VECTOR_TABLE() noexcept { return kTable; }

}  // namespace gritstone
