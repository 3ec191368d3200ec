// attention_vec, rotate_keys and attention_tiles against attention in double precision.
#include <gtest/gtest.h>

#include <array>
#include <numbers>
#include <numeric>
#include <string>

#include "model/dtype.h"
#include "model/kernels/cuda/attention_variants.h"
#include "tests/model/cuda/kv_scene.h"

namespace gritstone::cuda {
namespace {

constexpr std::size_t kLayer = 1;

struct AttentionCase {
  std::uint32_t heads, kv_heads, dim;
  bool grouped = false;
  std::uint32_t splits = 1;
  bool bidirectional = false;
};

std::string name_of(const testing::TestParamInfo<AttentionCase>& info) {
  const AttentionCase& c = info.param;
  return std::to_string(c.heads) + "_" + std::to_string(c.kv_heads) + "_" + std::to_string(c.dim) + (c.grouped ? "_grouped" : "") + "_" +
         std::to_string(c.splits) + (c.bidirectional ? "_bidirectional" : "");
}

std::vector<float> queries_of(KvScene& scene, std::size_t rows, std::uint32_t heads) {
  return random_values(rows * heads * scene.dim, 2 / std::sqrt(static_cast<float>(scene.dim)), scene.random);
}

AttentionArguments arguments_of(const AttentionCase& c, const DeviceScene& device) {
  AttentionArguments arguments;
  arguments.heads = c.heads;
  arguments.layer = kLayer;
  arguments.grouped = c.grouped;
  arguments.rope = device.rope;
  return arguments;
}

// Rows of `out` against the reference, each by itself; those not done are untouched.
void expect_rows(const KvScene& scene, const AttentionCase& c, const std::vector<SceneRow>& rows, const std::vector<bool>& done,
                 const std::vector<float>& q, const std::vector<float>& out, double tolerance) {
  const std::size_t width = std::size_t{c.heads} * c.dim;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const std::vector<float> got(out.begin() + static_cast<std::ptrdiff_t>(r * width),
                                 out.begin() + static_cast<std::ptrdiff_t>((r + 1) * width));
    if (!done[r]) {
      for (const float value : got) ASSERT_TRUE(std::isnan(value)) << "row " << r << " was written";
      continue;
    }
    ASSERT_LT(distance(got, scene.attend(rows[r], q.data() + r * width, c.heads, kLayer, c.grouped)), tolerance)
        << "row " << r << ", visible " << rows[r].visible << ", group " << rows[r].group;
  }
}

HalfType half_type_of(const AttentionCase& c) { return c.kv_heads % 2 == 0 ? HalfType::kF16 : HalfType::kBF16; }

std::vector<float> as_floats(const std::vector<half_bits>& bits, HalfType type) {
  std::vector<float> values;
  for (const half_bits x : bits) values.push_back(type == HalfType::kF16 ? f16_to_f32(x) : bf16_value(x));
  return values;
}

class AttentionVecTest : public testing::TestWithParam<AttentionCase> {};

TEST_P(AttentionVecTest, EqualsReference) {
  GS_REQUIRE_DEVICE();
  const AttentionCase c = GetParam();
  KvScene scene(2, c.kv_heads, c.dim, {421, 64, 65, 1}, 11, c.grouped);
  const std::vector<SceneRow> rows = {scene.row(3, 0, 1),         scene.row(0, 62, 63), scene.row(1, 63, 64),      scene.row(2, 64, 65),
                                      scene.row(0, 420, 421),     scene.row(0, 0, 1),   scene.row(0, 300, 31),     scene.row(0, 299, 300),
                                      scene.row(0, 50, 33, true), scene.row(2, 5, 65),  scene.row(0, 7, 421, true)};
  const std::vector<std::int32_t> list = {4, 0, 1, 10, 2, 3, 6, 7, 8, 5};
  std::vector<bool> done(rows.size());
  for (const std::int32_t row : list) done[static_cast<std::size_t>(row)] = true;
  const DeviceScene device(scene, rows);
  const std::vector<float> q = queries_of(scene, rows.size(), c.heads);
  const DeviceArray<float> q_device(q), out(q.size());
  const DeviceArray<std::uint16_t> out_half(q.size());
  const DeviceArray<std::int32_t> row_list(list);
  const std::uint32_t count = static_cast<std::uint32_t>(list.size());
  const DeviceArray<float> workspace(attention_vec_workspace(count, c.heads, c.dim, c.splits));
  AttentionArguments arguments = arguments_of(c, device);
  arguments.q = q_device.data();
  arguments.out_f32 = out.data();
  arguments.out_half = out_half.data();
  arguments.half_type = half_type_of(c);
  attention_vec(nullptr, arguments, device.step, row_list.data(), count, c.splits, device.kv, workspace.data());
  expect_rows(scene, c, rows, done, q, out.download(), 2e-6);
  expect_rows(scene, c, rows, done, q, as_floats(out_half.download(), half_type_of(c)), 4e-3);
}

INSTANTIATE_TEST_SUITE_P(Shapes, AttentionVecTest,
                         testing::Values(AttentionCase{4, 4, 128, false, 3}, AttentionCase{3, 3, 128, true, 16},
                                         AttentionCase{9, 3, 64, false, 2}, AttentionCase{9, 3, 64, true, 5},
                                         AttentionCase{4, 1, 64, false, 1}, AttentionCase{4, 2, 128, false, 4},
                                         AttentionCase{5, 1, 32, true, 3}, AttentionCase{4, 2, 16, false, 1},
                                         AttentionCase{8, 1, 16, true, 40}, AttentionCase{2, 1, 256, false, 3},
                                         AttentionCase{3, 3, 8, true, 2}, AttentionCase{2, 2, 80, false, 3},
                                         AttentionCase{6, 2, 72, true, 2}, AttentionCase{7, 1, 24, false, 4}),
                         name_of);

// Blocks of several sequences, not in order.
std::vector<KeyBlock> key_blocks(const KvScene& scene, const std::vector<std::int32_t>& sequences, std::vector<std::int32_t>& first_block) {
  std::vector<KeyBlock> blocks;
  first_block.assign(scene.lengths.size(), -1);
  for (const std::int32_t s : sequences) {
    first_block[static_cast<std::size_t>(s)] = static_cast<std::int32_t>(blocks.size());
    const std::int32_t slots = static_cast<std::int32_t>(scene.lengths[static_cast<std::size_t>(s)]);
    for (std::int32_t b = 0; b * 64 < slots; ++b) {
      blocks.push_back({s, b, std::min(64, slots - b * 64), static_cast<std::int32_t>(blocks.size())});
    }
  }
  return blocks;
}

TEST(RotateKeys, EqualsScalarArithmetic) {
  GS_REQUIRE_DEVICE();
  for (const std::uint32_t dim : {16u, 48u, 64u, 128u}) {
    const std::uint32_t kv_heads = dim == 16 ? 6 : 3;
    const KvScene scene(2, kv_heads, dim, {130, 64, 1}, dim);
    const DeviceScene device(scene, {scene.row(0, 0, 1)});
    std::vector<std::int32_t> first_block;
    std::vector<KeyBlock> blocks = key_blocks(scene, {2, 0, 1}, first_block);
    blocks[1].others[1] = 0xFFFF0FFF;  // slots 44 to 47 are the step's own
    const DeviceArray<std::uint16_t> keys(blocks.size() * kv_heads * kPageSlots * dim);
    std::vector<KeyBlock> in_any_order = blocks;
    std::reverse(in_any_order.begin(), in_any_order.end());
    const DeviceArray<KeyBlock> list(in_any_order);
    rotate_keys(nullptr, list.data(), static_cast<std::uint32_t>(blocks.size()), device.step, device.kv, kLayer, device.rope, as_f16(keys));
    std::vector<std::uint16_t> bits = keys.download();
    std::vector<double> expected;
    for (const KeyBlock& block : blocks) {
      for (std::size_t head = 0; head < kv_heads; ++head) {
        for (std::int32_t i = 0; i < 64; ++i) {
          std::vector<double> key(dim);
          if ((block.others[i / 32] >> i % 32 & 1) == 0) {
            const auto untouched = bits.begin() + static_cast<std::ptrdiff_t>(expected.size());
            ASSERT_EQ(std::count(untouched, untouched + dim, 0xFFFF), dim) << i;
            std::fill(untouched, untouched + dim, std::uint16_t{0});
            expected.insert(expected.end(), key.begin(), key.end());
            continue;
          }
          if (i < block.slots) {
            key = scene.key(static_cast<std::size_t>(block.sequence), static_cast<std::size_t>(block.block * 64 + i), kLayer, head);
          }
          expected.insert(expected.end(), key.begin(), key.end());
        }
      }
    }
    std::vector<float> got;
    for (const std::uint16_t value : bits) got.push_back(f16_to_f32(value));
    EXPECT_LT(distance(got, expected), 4e-4) << dim;
    for (std::size_t i = 0; i < got.size(); ++i) ASSERT_EQ(got[i] == 0, expected[i] == 0) << dim << ", " << i;
  }
}

// Rows of a step, in tiles of up to `tile_rows`, and the keys' blocks.
struct TileScene {
  std::vector<SceneRow> rows;
  std::vector<bool> done;
  std::vector<AttentionTile> tiles;
  std::vector<KeyBlock> blocks;

  // Slots [begin, length) of a sequence whose keys are in `blocks`.
  void add(const KvScene& scene, std::int32_t sequence, std::int32_t begin, std::int32_t first_block, const AttentionCase& c,
           std::int32_t tile_rows = static_cast<std::int32_t>(kTileRows)) {
    const std::int32_t length = static_cast<std::int32_t>(scene.lengths[static_cast<std::size_t>(sequence)]);
    std::int32_t row = static_cast<std::int32_t>(rows.size());
    for (std::int32_t slot = begin; slot < length; ++slot) {
      rows.push_back(scene.row(sequence, slot, c.bidirectional ? length : slot + 1, c.grouped && slot % 11 == 10 && slot > 240));
    }
    done.resize(rows.size(), first_block >= 0);
    for (; first_block >= 0 && row < static_cast<std::int32_t>(rows.size()); row += tile_rows) {
      const std::int32_t count = std::min(tile_rows, static_cast<std::int32_t>(rows.size()) - row);
      tiles.push_back({sequence, row, count, rows[static_cast<std::size_t>(row + count - 1)].visible, first_block});
    }
  }

  // Every kernel that the device has against the reference. Longer queries make weights that leave others far behind, and the largest score
  // rise far from block to block.
  void expect_results(KvScene& scene, const AttentionCase& c, float length = 1) const {
    const DeviceScene device(scene, rows);
    std::vector<float> q = queries_of(scene, rows.size(), c.heads);
    for (float& x : q) x *= length;
    std::vector<std::uint16_t> q_bits;
    for (const float x : q) q_bits.push_back(f32_to_f16(x * std::numbers::log2e_v<float>));
    const DeviceArray<std::uint16_t> q_half(q_bits);
    const DeviceArray<std::uint16_t> keys(blocks.size() * c.kv_heads * kPageSlots * c.dim);
    const DeviceArray<KeyBlock> block_list(blocks);
    const DeviceArray<AttentionTile> tile_list(tiles);
    rotate_keys(nullptr, block_list.data(), static_cast<std::uint32_t>(blocks.size()), device.step, device.kv, kLayer, device.rope,
                as_f16(keys));
    for (int variant = 0; variant < kAttentionVariants; ++variant) {
      if (!has_attention_variant(variant, c.dim)) continue;
      SCOPED_TRACE(testing::Message() << "variant " << variant);
      const DeviceArray<float> out(q.size());
      const DeviceArray<std::uint16_t> out_half(q.size());
      AttentionArguments arguments = arguments_of(c, device);
      arguments.q_half = as_f16(q_half);
      arguments.out_f32 = out.data();
      arguments.out_half = out_half.data();
      arguments.half_type = half_type_of(c);
      attention_variant(nullptr, variant, arguments, device.step, tile_list.data(), static_cast<std::uint32_t>(tiles.size()), device.kv,
                        as_f16(keys));
      // The weights are rounded to bf16.
      expect_rows(scene, c, rows, done, q, out.download(), length > 1 ? 2e-2 : 3e-3);
      expect_rows(scene, c, rows, done, q, as_floats(out_half.download(), half_type_of(c)), length > 1 ? 2e-2 : 5e-3);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
};

class AttentionTilesTest : public testing::TestWithParam<AttentionCase> {};

TEST_P(AttentionTilesTest, EqualsReference) {
  GS_REQUIRE_DEVICE();
  const AttentionCase c = GetParam();
  // Sequence 0: 84 rows after 216 slots that were there. 1: all rows. 2: one. 3: rows of a sequence that no tile is asked for.
  KvScene scene(2, c.kv_heads, c.dim, {300, 150, 1, 3}, 5, c.grouped);
  TileScene step;
  std::vector<std::int32_t> first_block;
  step.blocks = key_blocks(scene, {1, 2, 0}, first_block);
  for (const std::int32_t sequence : {3, 0, 2, 1}) {
    step.add(scene, sequence, sequence == 0 ? 216 : 0, first_block[static_cast<std::size_t>(sequence)], c);
  }
  step.expect_results(scene, c);
}

// Tiles of 1 to 128 rows, which end anywhere in a block, behind 0 to 16 blocks: fewer and more than the kernels' rings of stages, even and
// odd. What lies behind a sequence's last slot in its page is NaN.
TEST(AttentionTiles, ShortTilesAndManyBlocks) {
  GS_REQUIRE_DEVICE();
  for (const std::uint32_t dim : {64u, 128u}) {
    for (const bool grouped : {false, true}) {
      const AttentionCase c{2, 1, dim, grouped, 1, false};
      const std::vector<std::uint32_t> lengths = {1, 17, 64, 65, 127, 128, 190, 257, 320, 383, 449, 513, 830, 1030};
      KvScene scene(2, c.kv_heads, c.dim, lengths, dim, grouped);
      std::vector<std::int32_t> all(lengths.size()), first_block;
      std::iota(all.begin(), all.end(), 0);
      TileScene step;
      step.blocks = key_blocks(scene, all, first_block);
      for (const std::int32_t sequence : all) {
        const std::size_t s = static_cast<std::size_t>(sequence);
        const std::int32_t length = static_cast<std::int32_t>(lengths[s]), rows = std::array{1, 17, 65, 70, 128}[s % 5];
        step.add(scene, sequence, std::max(0, length - rows), first_block[s], c);
      }
      SCOPED_TRACE(testing::Message() << "head_dim " << dim << (grouped ? ", grouped" : ""));
      step.expect_results(scene, c, grouped ? 6.0f : 1.0f);
      if (HasFatalFailure()) return;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, AttentionTilesTest,
                         testing::Values(AttentionCase{2, 2, 128}, AttentionCase{3, 1, 64}, AttentionCase{3, 1, 64, true},
                                         AttentionCase{4, 2, 16}, AttentionCase{4, 2, 16, true, 1, true},
                                         AttentionCase{2, 1, 32, false, 1, true}, AttentionCase{1, 1, 48}, AttentionCase{1, 1, 80},
                                         AttentionCase{1, 1, 96, true, 1, true}, AttentionCase{1, 1, 112}, AttentionCase{2, 1, 128, true},
                                         AttentionCase{1, 1, 128, false, 1, true}, AttentionCase{4, 2, 64, true, 1, true},
                                         AttentionCase{5, 1, 128, false}),
                         name_of);

}  // namespace
}  // namespace gritstone::cuda
