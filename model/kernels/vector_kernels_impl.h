// The kernels of vector_kernels.h over Vec16, compiled once per ISA: the including file has defined Vec16 and opened its target region, and
// names its table with GS_VECTOR_TABLE. Nothing is included here, so that no library inline is compiled for the target.
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

void kv_encode(KvFormat format, const float* x, std::uint8_t* row, std::size_t n) noexcept {
  if (format == KvFormat::kF32) {
    __builtin_memcpy(row, x, n * sizeof(float));
    return;
  }
  const auto load = [&](std::size_t i) { return i + kLanes <= n ? Vec16::load(x + i) : load_tail(x + i, n - i, 0.0f); };
  if (format == KvFormat::kBF16) {
    for (std::size_t i = 0; i < n; i += kLanes) store_bf16_tail(load(i), row + i * 2, n - i);
    return;
  }
  // int8: the scale is max|x| / 127; a row of zeros has scale 0.
  Vec16 top = Vec16::set1(0.0f);
  for (std::size_t i = 0; i < n; i += kLanes) top = Vec16::max(top, Vec16::abs(load(i)));
  const float scale = top.max_lane() / 127.0f;
  const Vec16 inverse = Vec16::set1(scale > 0.0f ? 1.0f / scale : 0.0f);
  __builtin_memcpy(row, &scale, sizeof(scale));
  for (std::size_t i = 0; i < n; i += kLanes) {
    // The quotient may round to just above 127.
    const Vec16 q = Vec16::max(Vec16::min(load(i) * inverse, Vec16::set1(127.0f)), Vec16::set1(-127.0f));
    if (i + kLanes <= n) {
      q.store_i8(reinterpret_cast<std::int8_t*>(row) + sizeof(scale) + i);
      continue;
    }
    std::int8_t lanes[kLanes];
    q.store_i8(lanes);
    __builtin_memcpy(row + sizeof(scale) + i, lanes, n - i);
  }
}

// Reads 16 elements of a KV row of `Format` at element i.
template <KvFormat Format>
struct KvReader {
  const std::uint8_t* row;
  Vec16 scale;
  explicit KvReader(const std::uint8_t* r) noexcept : row(r), scale(Vec16::set1(1.0f)) {
    if constexpr (Format == KvFormat::kInt8) {
      float s;
      __builtin_memcpy(&s, r, sizeof(s));
      scale = Vec16::set1(s);
      row = r + sizeof(s);
    }
  }
  Vec16 load(std::size_t i) const noexcept {
    if constexpr (Format == KvFormat::kF32) return Vec16::load(reinterpret_cast<const float*>(row) + i);
    if constexpr (Format == KvFormat::kBF16) return Vec16::load_bf16(reinterpret_cast<const std::uint16_t*>(row) + i);
    if constexpr (Format == KvFormat::kInt8) return Vec16::load_i8(reinterpret_cast<const std::int8_t*>(row) + i) * scale;
  }
  float element(std::size_t i) const noexcept {
    if constexpr (Format == KvFormat::kInt8) {
      float s;
      __builtin_memcpy(&s, row - sizeof(s), sizeof(s));
      return static_cast<float>(static_cast<std::int8_t>(row[i])) * s;
    } else if constexpr (Format == KvFormat::kBF16) {
      std::uint32_t bits = 0;
      __builtin_memcpy(reinterpret_cast<char*>(&bits) + 2, row + i * 2, 2);
      float value;
      __builtin_memcpy(&value, &bits, 4);
      return value;
    } else {
      float value;
      __builtin_memcpy(&value, row + i * 4, 4);
      return value;
    }
  }
};

template <KvFormat Format>
void decode_row(const std::uint8_t* row, float* x, std::size_t n) noexcept {
  const KvReader<Format> reader(row);
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) reader.load(i).store(x + i);
  for (; i < n; ++i) x[i] = reader.element(i);
}

template <KvFormat Format>
void decode_rotated_row(const std::uint8_t* row, float* x, const float* cos, const float* sin, std::size_t n) noexcept {
  const std::size_t half = n / 2;
  if (half % kLanes != 0) {
    decode_row<Format>(row, x, n);
    rope(x, cos, sin, 1.0f, n);
    return;
  }
  const KvReader<Format> reader(row);
  for (std::size_t i = 0; i < half; i += kLanes) {
    const Vec16 a = reader.load(i), b = reader.load(half + i), c = Vec16::load(cos + i), s = Vec16::load(sin + i);
    (a * c - b * s).store(x + i);
    (b * c + a * s).store(x + half + i);
  }
}

void int8_to_bf16(const std::uint8_t* in, std::uint8_t* out, std::size_t rows, std::size_t n) noexcept {
  for (std::size_t r = 0; r < rows; ++r, in += sizeof(float) + n, out += 2 * n) {
    const KvReader<KvFormat::kInt8> reader(in);
    std::size_t i = 0;
    for (; i + kLanes <= n; i += kLanes) reader.load(i).store_bf16(reinterpret_cast<std::uint16_t*>(out) + i);
    if (i < n) {
      float tail[kLanes] = {};
      for (std::size_t j = i; j < n; ++j) tail[j - i] = reader.element(j);
      store_bf16_tail(Vec16::load(tail), out + 2 * i, n - i);
    }
  }
}

void kv_decode(KvFormat format, const std::uint8_t* row, float* x, std::size_t n) noexcept {
  if (format == KvFormat::kF32) decode_row<KvFormat::kF32>(row, x, n);
  if (format == KvFormat::kBF16) decode_row<KvFormat::kBF16>(row, x, n);
  if (format == KvFormat::kInt8) decode_row<KvFormat::kInt8>(row, x, n);
}

// Calls column(i, code values of columns [i, i + 16)) for a row of int4 codes; the last call may hold columns beyond n.
template <class Column>
inline void for_int4_columns(const std::uint8_t* codes, std::size_t n, const Column& column) noexcept {
  for (std::size_t i = 0; i < n; i += 2 * kLanes, codes += kLanes) {
    column(i, Vec16::load_u4(codes, false));
    if (i + kLanes < n) column(i + kLanes, Vec16::load_u4(codes, true));
  }
}

// Where a row of int4 codes goes: f32 or bf16.
struct Int4Output {
  KvFormat format;
  std::uint8_t* out;
  std::size_t n;
  void operator()(Vec16 value, std::size_t i) const noexcept {
    if (format == KvFormat::kBF16) return store_bf16_tail(value, out + 2 * i, n - i);
    float* x = reinterpret_cast<float*>(out) + i;
    i + kLanes <= n ? value.store(x) : store_tail(value, x, n - i);
  }
};

void int4_columns(const std::uint8_t* codes, const float* scale, const float* min, KvFormat format, void* out, std::size_t n) noexcept {
  const Int4Output put{format, static_cast<std::uint8_t*>(out), n};
  for_int4_columns(codes, n, [&](std::size_t i, Vec16 code) {
    if (i + kLanes <= n) {
      put(Vec16::fma(code, Vec16::load(scale + i), Vec16::load(min + i)), i);
    } else {
      put(Vec16::fma(code, load_tail(scale + i, n - i, 0.0f), load_tail(min + i, n - i, 0.0f)), i);
    }
  });
}

void int4_row(const std::uint8_t* codes, float scale, float min, KvFormat format, void* out, std::size_t n) noexcept {
  const Vec16 s = Vec16::set1(scale), m = Vec16::set1(min);
  const Int4Output put{format, static_cast<std::uint8_t*>(out), n};
  for_int4_columns(codes, n, [&](std::size_t i, Vec16 code) { put(Vec16::fma(code, s, m), i); });
}

void f16_decode(const std::uint16_t* in, float* x, std::size_t n) noexcept {
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) Vec16::load_f16(in + i).store(x + i);
  if (i < n) {
    std::uint16_t lanes[kLanes] = {};
    for (std::size_t j = i; j < n; ++j) lanes[j - i] = in[j];
    store_tail(Vec16::load_f16(lanes), x + i, n - i);
  }
}

// Scores of `keys` keys (a multiple of 16) for one query: s[j] = q . k[j], sixteen dot products at a time, each as sixteen partial sums.
void score_keys(const float* q, const float* k, std::size_t stride, std::size_t keys, float* s) noexcept {
  for (std::size_t j = 0; j < keys; j += kLanes) {
    Vec16 sums[kLanes];
    const float* rows = k + j * stride;
    const Vec16 first = Vec16::load(q);
#pragma GCC unroll 16
    for (std::size_t r = 0; r < kLanes; ++r) sums[r] = first * Vec16::load(rows + r * stride);
    for (std::size_t c = kLanes; c < stride; c += kLanes) {
      const Vec16 part = Vec16::load(q + c);
#pragma GCC unroll 16
      for (std::size_t r = 0; r < kLanes; ++r) sums[r] = Vec16::fma(part, Vec16::load(rows + r * stride + c), sums[r]);
    }
    Vec16::sum_rows(sums).store(s + j);
  }
}

// acc = acc * correction + sum_j p[j] * v[j], keys in order.
void weigh_values(const float* p, const float* v, std::size_t stride, std::size_t keys, float correction, float* acc) noexcept {
  const Vec16 factor = Vec16::set1(correction);
  std::size_t c = 0;
  for (; c + 4 * kLanes <= stride; c += 4 * kLanes) {
    Vec16 a0 = Vec16::load(acc + c) * factor, a1 = Vec16::load(acc + c + 16) * factor;
    Vec16 a2 = Vec16::load(acc + c + 32) * factor, a3 = Vec16::load(acc + c + 48) * factor;
    for (std::size_t j = 0; j < keys; ++j) {
      const Vec16 weight = Vec16::set1(p[j]);
      const float* row = v + j * stride + c;
      a0 = Vec16::fma(weight, Vec16::load(row), a0);
      a1 = Vec16::fma(weight, Vec16::load(row + 16), a1);
      a2 = Vec16::fma(weight, Vec16::load(row + 32), a2);
      a3 = Vec16::fma(weight, Vec16::load(row + 48), a3);
    }
    a0.store(acc + c);
    a1.store(acc + c + 16);
    a2.store(acc + c + 32);
    a3.store(acc + c + 48);
  }
  for (; c < stride; c += kLanes) {
    Vec16 a = Vec16::load(acc + c) * factor;
    for (std::size_t j = 0; j < keys; ++j) a = Vec16::fma(Vec16::set1(p[j]), Vec16::load(v + j * stride + c), a);
    a.store(acc + c);
  }
}

// State of the online softmax of one query (Milakov and Gimelshein 2018; the block structure of FlashAttention).
struct Softmax {
  float top = kMinusInfinity;
  float sum = 0.0f;
};

// One block of at most kKvBlock keys, of which [0, keys) may be seen, for one query.
void attend_block(const AttentionTask& task, std::size_t query, std::size_t begin, std::size_t keys, const float* q, const float* k,
                  const float* v, std::size_t stride, Softmax& state, float* acc) noexcept {
  alignas(64) float s[kKvBlock];
  score_keys(q, k, stride, padded(keys), s);
  for (std::size_t j = keys; j < kKvBlock; ++j) s[j] = kMinusInfinity;
  if (task.slot_group != nullptr && task.group[query] >= 0) {
    for (std::size_t j = 0; j < keys; ++j) {
      const std::int32_t group = task.slot_group[begin + j];
      if (group != 0 && group != task.group[query]) s[j] = kMinusInfinity;
    }
  }
  Vec16 block_top = Vec16::load(s);
  for (std::size_t j = kLanes; j < kKvBlock; j += kLanes) block_top = Vec16::max(block_top, Vec16::load(s + j));
  const float top = block_top.max_lane();
  if (top == kMinusInfinity) return;
  const float new_top = top > state.top ? top : state.top;
  const float correction = state.top == kMinusInfinity ? 0.0f : exp_scalar(state.top - new_top);
  const Vec16 shift = Vec16::set1(new_top);
  alignas(64) float p[kKvBlock];
  for (std::size_t j = 0; j < kKvBlock; j += kLanes) exp(Vec16::load(s + j) - shift).store(p + j);
  // exp clamps, so that what is hidden would weigh 1e-38 instead of nothing.
  for (std::size_t j = 0; j < kKvBlock; ++j) p[j] = s[j] == kMinusInfinity ? 0.0f : p[j];
  const float sum = ((Vec16::load(p) + Vec16::load(p + 16)) + (Vec16::load(p + 32) + Vec16::load(p + 48))).sum();
  state.sum = state.sum * correction + sum;
  state.top = new_top;
  weigh_values(p, v, stride, keys, correction, acc);
}

template <KvFormat Format>
void attention_typed(const AttentionTask& task) noexcept {
  const std::size_t dim = task.head_dim, stride = padded(dim), half = dim / 2;
  float* k = task.scratch;
  float* v = k + kKvBlock * stride;
  float* queries = v + kKvBlock * stride;
  float* acc = queries + task.queries * stride;
  Softmax* state = reinterpret_cast<Softmax*>(acc + task.queries * stride);
  std::size_t furthest = 0;
  for (std::size_t i = 0; i < task.queries; ++i) {
    for (std::size_t d = 0; d < stride; ++d) queries[i * stride + d] = d < dim ? task.q[i][d] : 0.0f;
    for (std::size_t d = 0; d < stride; ++d) acc[i * stride + d] = 0.0f;
    state[i] = Softmax{};
    furthest = task.visible[i] > furthest ? task.visible[i] : furthest;
  }
  // Padding columns and rows stay zero: they take part in sums.
  for (std::size_t i = 0; i < 2 * kKvBlock * stride; ++i) k[i] = 0.0f;
  for (std::size_t begin = 0, block = 0; begin < furthest; begin += kKvBlock, ++block) {
    const std::size_t keys = furthest - begin < kKvBlock ? furthest - begin : kKvBlock;
    for (std::size_t j = 0; j < keys; ++j) {
      const std::size_t angle = static_cast<std::size_t>(task.slot_position[begin + j]) * half;
      decode_rotated_row<Format>(task.k_blocks[block] + j * task.row_bytes, k + j * stride, task.cos + angle, task.sin + angle, dim);
      decode_row<Format>(task.v_blocks[block] + j * task.row_bytes, v + j * stride, dim);
    }
    for (std::size_t i = 0; i < task.queries; ++i) {
      if (task.visible[i] <= begin) continue;
      const std::size_t seen = task.visible[i] - begin < keys ? task.visible[i] - begin : keys;
      attend_block(task, i, begin, seen, queries + i * stride, k, v, stride, state[i], acc + i * stride);
    }
  }
  for (std::size_t i = 0; i < task.queries; ++i) {
    const float inverse = state[i].sum > 0.0f ? 1.0f / state[i].sum : 0.0f;
    for (std::size_t d = 0; d < dim; ++d) task.out[i][d] = acc[i * stride + d] * inverse;
  }
}

void attention(const AttentionTask& task) noexcept {
  if (task.format == KvFormat::kF32) attention_typed<KvFormat::kF32>(task);
  if (task.format == KvFormat::kBF16) attention_typed<KvFormat::kBF16>(task);
  if (task.format == KvFormat::kInt8) attention_typed<KvFormat::kInt8>(task);
}

constexpr VectorKernels kTable{rms_norm,  silu_mul,     add,          add_scaled, softmax,    rope,     kv_encode,
                               kv_decode, int8_to_bf16, int4_columns, int4_row,   f16_decode, attention};

}  // namespace

const VectorKernels& GS_VECTOR_TABLE() noexcept { return kTable; }

}  // namespace gritstone
