#include "model/span_transfer.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "model/kv_codec.h"

namespace gritstone {
namespace {

// Calls run(page row, rows, done) for every stretch of slots [slot, slot + count) that lies in one page; `done` slots came before it.
template <typename Run>
void for_page_runs(const KvPool& pool, const KvSequence& sequence, std::size_t layer, bool value, std::size_t head, std::size_t slot,
                   std::size_t count, Run&& run) {
  for (std::size_t done = 0; done < count;) {
    const std::size_t at = slot + done;
    const std::size_t rows = std::min(kKvBlock - at % kKvBlock, count - done);
    run(pool.block(sequence.pages[at / kKvBlock], layer, value, head) + at % kKvBlock * pool.head_row_bytes(), rows, done);
    done += rows;
  }
}

struct Plane {
  std::size_t layer, head;
  bool value;
};

Plane plane_at(const KvShape& shape, std::size_t index) {
  const std::size_t head = index % shape.kv_heads, rest = index / shape.kv_heads;
  return {rest / 2, head, rest % 2 != 0};
}

}  // namespace

void SpanTransfer::load(const KvSequence& sequence, std::span<const Segment> segments) const {
  const std::size_t planes = shape.layers * 2 * shape.kv_heads;
  // Layer by layer over all segments, so that what is read from a file is touched in file order.
  threads.parallel_for(planes, [&](std::size_t index, std::size_t) {
    const Plane p = plane_at(shape, index);
    for (const Segment& s : segments) {
      for_page_runs(pool, sequence, p.layer, p.value, p.head, s.slot, s.length, [&](std::uint8_t* to, std::size_t rows, std::size_t done) {
        convert_plane(kernels, *s.span, p.layer, p.value, p.head, s.offset + done, rows, pool.type(), to);
      });
    }
  });
}

KvSpan SpanTransfer::save(const KvSequence& sequence, std::size_t slot, std::size_t count, KvType type) const {
  auto [span, bytes] = make_kv_span(type, shape, count);
  const std::size_t planes = shape.layers * 2 * shape.kv_heads;
  const std::size_t dim = shape.head_dim, row = pool.head_row_bytes();
  const std::uint8_t* const base = span.bytes.data();
  std::uint8_t* const writable = bytes.data();
  const KvSpan& layout = span;
  threads.parallel_for(planes, [&](std::size_t index, std::size_t) {
    const Plane p = plane_at(shape, index);
    std::uint8_t* to = writable + (layout.plane(p.layer, p.value, p.head) - base);
    if (type == pool.type()) {
      for_page_runs(pool, sequence, p.layer, p.value, p.head, slot, count,
                    [&](const std::uint8_t* from, std::size_t rows, std::size_t done) { std::memcpy(to + done * row, from, rows * row); });
      return;
    }
    thread_local std::vector<float> rows_f32;
    rows_f32.resize(count * dim);
    for_page_runs(pool, sequence, p.layer, p.value, p.head, slot, count, [&](const std::uint8_t* from, std::size_t rows, std::size_t done) {
      for (std::size_t i = 0; i < rows; ++i)
        kernels.kv_decode(kv_format(pool.type()), from + i * row, rows_f32.data() + (done + i) * dim, dim);
    });
    encode_plane(kernels, type, p.value, rows_f32.data(), count, dim, to);
  });
  return span;
}

}  // namespace gritstone
