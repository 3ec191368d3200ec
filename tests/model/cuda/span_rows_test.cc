// Spans of every type into KV pages and back, against the CPU's codec.
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "base/kv_span.h"
#include "model/kernels/cuda/ops.h"
#include "model/kernels/kernel_table.h"
#include "model/kv_codec.h"
#include "tests/model/cuda/device_array.h"
#include "tests/model/cuda/random_values.h"

namespace gritstone::cuda {
namespace {

// Pages of a small cache; everything is 0xFF at first.
struct Cache {
  KvShape shape;
  std::vector<std::uint32_t> pages;
  DeviceArray<std::uint32_t> device_pages;
  DeviceArray<bf16> memory;
  DeviceArray<std::int32_t> positions, groups;

  Cache(const KvShape& s, std::vector<std::uint32_t> sequence_pages, std::size_t page_count)
      : shape(s),
        pages(std::move(sequence_pages)),
        device_pages(pages),
        memory(page_count * s.layers * 2 * s.kv_heads * kPageSlots * s.head_dim),
        positions(page_count * kPageSlots),
        groups(page_count * kPageSlots) {}
  KvView view() const {
    return {memory.data(),
            positions.data(),
            groups.data(),
            static_cast<std::uint32_t>(shape.layers),
            static_cast<std::uint32_t>(shape.kv_heads),
            static_cast<std::uint32_t>(shape.head_dim)};
  }
  // First element of a slot's K or V in `memory`.
  std::size_t at(std::size_t layer, bool value, std::size_t head, std::size_t slot) const {
    const std::size_t block = ((pages[slot / kPageSlots] * shape.layers + layer) * 2 + (value ? 1 : 0)) * shape.kv_heads + head;
    return (block * kPageSlots + slot % kPageSlots) * shape.head_dim;
  }
};

std::uint16_t bits(bf16 x) { return __bfloat16_as_ushort(x); }

struct SpanCase {
  KvShape shape;
  std::uint32_t tokens, offset, length, slot;
};

TEST(SpanRows, StoresWhatTheCodecDecodes) {
  GS_REQUIRE_DEVICE();
  const VectorKernels& kernels = *select_kernels({}).vector;
  // 300 tokens: two int4 groups of K, the second one of 172.
  for (const SpanCase& c : {SpanCase{{2, 2, 16}, 70, 3, 66, 60}, {{1, 1, 40}, 9, 0, 9, 0}, {{1, 2, 128}, 300, 100, 150, 129}}) {
    for (const KvType type : {KvType::kF32, KvType::kBF16, KvType::kInt8, KvType::kInt4}) {
      auto [span, bytes] = make_kv_span(type, c.shape, c.tokens);
      for (std::size_t layer = 0; layer < c.shape.layers; ++layer) {
        for (const bool value : {false, true}) {
          for (std::size_t head = 0; head < c.shape.kv_heads; ++head) {
            const auto seed = static_cast<std::uint32_t>((layer * 2 + value) * 10 + head);
            encode_plane(kernels, type, value, random_values(seed, c.tokens * c.shape.head_dim).data(), c.tokens, c.shape.head_dim,
                         bytes.data() + (span.plane(layer, value, head) - span.bytes.data()));
          }
        }
      }
      const Cache cache(c.shape, {4, 0, 5, 2, 1}, 6);
      const std::size_t layer = c.shape.layers - 1;
      const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(layer * span.layer_bytes());
      const DeviceArray<std::uint8_t> device(std::vector<std::uint8_t>(begin, begin + static_cast<std::ptrdiff_t>(span.layer_bytes())));
      SpanRows rows;
      rows.layer = device.data();
      rows.type = static_cast<std::uint8_t>(type);
      rows.span_tokens = c.tokens;
      rows.offset = c.offset;
      rows.length = c.length;
      rows.slot = c.slot;
      rows.pages = cache.device_pages.data();
      store_span_rows(nullptr, rows, cache.view(), static_cast<std::uint32_t>(layer));

      std::vector<bf16> memory = cache.memory.download();
      for (const bool value : {false, true}) {
        for (std::size_t head = 0; head < c.shape.kv_heads; ++head) {
          std::vector<float> decoded(c.length * c.shape.head_dim);
          decode_plane(kernels, span, layer, value, head, c.offset, c.length, decoded.data());
          for (std::size_t t = 0; t < c.length; ++t) {
            for (std::size_t i = 0; i < c.shape.head_dim; ++i) {
              bf16& stored = memory[cache.at(layer, value, head, c.slot + t) + i];
              ASSERT_EQ(bits(stored), bits(__float2bfloat16_rn(decoded[t * c.shape.head_dim + i])))
                  << kv_type_name(type) << (value ? " V " : " K ") << head << ", " << t << ", " << i;
              stored = __ushort_as_bfloat16(0xFFFF);
            }
          }
        }
      }
      // Nothing else was touched.
      for (const bf16 x : memory) ASSERT_EQ(bits(x), 0xFFFF);
    }
  }
}

TEST(SpanRows, PlacesSlots) {
  GS_REQUIRE_DEVICE();
  const Cache cache({1, 1, 16}, {2, 0}, 3);
  place_slots(nullptr, cache.device_pages.data(), 60, 10, 1000, 3, cache.view());
  const std::vector<std::int32_t> positions = cache.positions.download(), groups = cache.groups.download();
  for (std::int32_t i = 0; i < 3 * static_cast<std::int32_t>(kPageSlots); ++i) {
    // Slots 60 .. 63 end page 2, slots 64 .. 69 begin page 0.
    const std::int32_t offset = i >= 188 ? i - 188 : i < 6 ? i + 4 : -1;
    EXPECT_EQ(positions[static_cast<std::size_t>(i)], offset >= 0 ? 1000 + offset : -1) << i;
    EXPECT_EQ(groups[static_cast<std::size_t>(i)], offset >= 0 ? 3 : -1) << i;
  }
}

TEST(SpanRows, GathersASpan) {
  GS_REQUIRE_DEVICE();
  const KvShape shape{3, 2, 24};
  Cache cache(shape, {3, 1}, 4);
  const std::vector<float> values = random_values(1, cache.memory.size());
  std::vector<bf16> memory(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) memory[i] = __float2bfloat16_rn(values[i]);
  cache.memory.upload(memory);
  constexpr std::uint32_t kFirst = 50, kCount = 40;
  const DeviceArray<bf16> out(shape.layers * 2 * shape.kv_heads * kCount * shape.head_dim);
  gather_span(nullptr, cache.device_pages.data(), kFirst, kCount, cache.view(), out.data());
  const std::vector<bf16> span = out.download();
  std::size_t next = 0;
  for (std::size_t layer = 0; layer < shape.layers; ++layer) {
    for (const bool value : {false, true}) {
      for (std::size_t head = 0; head < shape.kv_heads; ++head) {
        for (std::size_t t = 0; t < kCount; ++t) {
          for (std::size_t i = 0; i < shape.head_dim; ++i) {
            ASSERT_EQ(bits(span[next++]), bits(memory[cache.at(layer, value, head, kFirst + t) + i]));
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace gritstone::cuda
