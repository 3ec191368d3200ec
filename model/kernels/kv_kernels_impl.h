// KV rows in their formats: the part of vector_kernels_impl.h that encodes, decodes and converts them.

namespace gritstone {
namespace {

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

}  // namespace
}  // namespace gritstone
