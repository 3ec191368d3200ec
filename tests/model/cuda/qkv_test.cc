// qkv_norm_rope_store: q in both its forms, the pages and the probe against scalar arithmetic; nothing else is touched.
#include <gtest/gtest.h>

#include <numbers>

#include "tests/model/cuda/kv_scene.h"
#include "tests/model/cuda/random_values.h"

namespace gritstone::cuda {
namespace {

struct QkvCase {
  std::uint32_t heads, kv_heads, dim;
  bool norms;
  float clip;
  bool interleaved, probe;
  std::uint32_t layer;
  bool half = false;  // qkv in two bytes
  HalfType type = HalfType::kF16;
  bool q_f32 = true, q_f16 = true;  // wanted
};

class QkvTest : public testing::TestWithParam<QkvCase> {};

std::vector<double> as_double(const std::vector<float>& values) { return {values.begin(), values.end()}; }

// x as a row's q or k: norm, clamping, pair order.
std::vector<float> prepared(std::vector<float> x, const std::vector<float>* weight, float eps, const QkvCase& c, bool has_pairs) {
  if (weight != nullptr) {
    double sum = 0;
    for (const float value : x) sum += static_cast<double>(value) * static_cast<double>(value);
    const double factor = 1 / std::sqrt(sum / static_cast<double>(x.size()) + static_cast<double>(eps));
    for (std::size_t i = 0; i < x.size(); ++i) {
      x[i] = static_cast<float>(static_cast<double>(x[i]) * factor * static_cast<double>((*weight)[i]));
    }
  }
  if (c.clip > 0) {
    for (float& value : x) value = std::clamp(value, -c.clip, c.clip);
  }
  if (!c.interleaved || !has_pairs) return x;
  std::vector<float> split(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) split[i / c.dim * c.dim + i % 2 * c.dim / 2 + i % c.dim / 2] = x[i];
  return split;
}

TEST_P(QkvTest, EqualsScalarArithmetic) {
  GS_REQUIRE_DEVICE();
  const QkvCase c = GetParam();
  // The last row of the step is not asked for.
  KvScene scene(2, c.kv_heads, c.dim, {130, 65, 1}, 7);
  std::vector<SceneRow> rows = {scene.row(1, 64, 65), scene.row(0, 3, 4),   scene.row(0, 129, 130),
                                scene.row(2, 0, 1),   scene.row(0, 64, 65), scene.row(1, 0, 1)};
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i].group = static_cast<std::int32_t>(i) - 1;
  rows[2].position = 17;
  DeviceScene device(scene, rows);
  const std::uint32_t done = static_cast<std::uint32_t>(rows.size()) - 1;
  const std::size_t q_width = std::size_t{c.heads} * c.dim, kv_width = std::size_t{c.kv_heads} * c.dim, width = q_width + 2 * kv_width;
  std::vector<float> qkv = random_values(rows.size() * width, 2, scene.random);
  std::vector<half_bits> qkv_bits;
  for (float& x : qkv) {
    qkv_bits.push_back(to_half(x, c.type));
    if (c.half) x = from_half(qkv_bits.back(), c.type);
  }
  const DeviceArray<half_bits> qkv_half(qkv_bits), q_half(rows.size() * q_width);
  const std::vector<float> q_weight = random_values(q_width, 1, scene.random), k_weight = random_values(kv_width, 1, scene.random);
  const DeviceArray<float> qkv_device(qkv), q_norm(q_weight), k_norm(k_weight), q(rows.size() * q_width), probe(rows.size() * 2 * kv_width);

  QkvArguments arguments;
  if (c.half) {
    arguments.qkv_half = qkv_half.data();
    arguments.qkv_type = c.type;
  } else {
    arguments.qkv = qkv_device.data();
  }
  if (c.norms) {
    arguments.q_norm = q_norm.data();
    arguments.k_norm = k_norm.data();
  }
  arguments.eps = 1e-5f;
  arguments.clip = c.clip;
  arguments.interleaved = c.interleaved;
  arguments.heads = c.heads;
  arguments.rope = device.rope;
  if (c.q_f32) arguments.q = q.data();
  if (c.q_f16) arguments.q_half = as_f16(q_half);
  if (c.probe) arguments.probe = probe.data();
  // Sequence 2 is in no tile.
  const DeviceArray<std::uint16_t> keys(6 * std::size_t{c.kv_heads} * kPageSlots * c.dim);
  const std::vector<std::int32_t> first_blocks = {3, 1, -1};
  const DeviceArray<std::int32_t> key_first(first_blocks);
  if (c.q_f16) arguments.keys = as_f16(keys);
  if (c.q_f16) arguments.key_first = key_first.data();
  qkv_norm_rope_store(nullptr, arguments, device.step, done, device.kv, c.layer);

  const std::vector<float> got_q = q.download(), got_probe = probe.download();
  const std::vector<half_bits> got_half = q_half.download();
  const std::vector<std::uint16_t> got_memory = device.memory.download();
  std::vector<std::uint16_t> got_keys = keys.download();
  std::vector<std::int32_t> positions = scene.positions, groups = scene.groups;
  for (std::size_t r = 0; r < done; ++r) {
    const SceneRow& row = rows[r];
    const float* x = qkv.data() + r * width;
    const std::vector<float> rotated = prepared({x, x + q_width}, c.norms ? &q_weight : nullptr, arguments.eps, c, true);
    const std::vector<float> k = prepared({x + q_width, x + q_width + kv_width}, c.norms ? &k_weight : nullptr, arguments.eps, c, true);
    const std::vector<float> v = prepared({x + q_width + kv_width, x + width}, nullptr, arguments.eps, c, false);
    std::vector<double> expected_q(q_width);
    const std::size_t half = c.dim / 2, angle = static_cast<std::size_t>(row.position) * half;
    for (std::size_t i = 0; i < q_width; ++i) {
      const std::size_t pair = i % c.dim % half;
      const double cos = static_cast<double>(scene.cos[angle + pair]), sin = static_cast<double>(scene.sin[angle + pair]);
      const bool first = i % c.dim < half;
      const double other = static_cast<double>(rotated[first ? i + half : i - half]);
      expected_q[i] = (static_cast<double>(rotated[i]) * cos + (first ? -other : other) * sin) / std::sqrt(static_cast<double>(c.dim));
    }
    if (c.q_f32) {
      EXPECT_LT(distance({got_q.begin() + static_cast<std::ptrdiff_t>(r * q_width), got_q.end()}, expected_q), 1e-6);
    }
    for (std::size_t i = r * q_width; c.q_f16 && i < (r + 1) * q_width; ++i) {
      const double scaled = expected_q[i - r * q_width] * std::numbers::log2e;
      ASSERT_NEAR(f16_to_f32(got_half[i]), scaled, 0x1.01p-11 * std::abs(scaled) + 1e-6) << i;
      if (c.q_f32) {
        ASSERT_EQ(got_half[i], f32_to_f16(got_q[i] * std::numbers::log2e_v<float>)) << i;
      }
    }
    std::vector<float> stored_k, stored_v;
    for (std::size_t i = 0; i < kv_width; ++i) {
      const std::size_t sequence = static_cast<std::size_t>(row.sequence), slot = static_cast<std::size_t>(row.slot);
      const std::size_t k_at = scene.at(sequence, slot, c.layer, false, i / c.dim) + i % c.dim;
      const std::size_t v_at = scene.at(sequence, slot, c.layer, true, i / c.dim) + i % c.dim;
      stored_k.push_back(bf16_value(got_memory[k_at]));
      stored_v.push_back(bf16_value(got_memory[v_at]));
      scene.memory[k_at] = got_memory[k_at];
      scene.memory[v_at] = got_memory[v_at];
    }
    EXPECT_LT(distance(stored_k, as_double(k)), 3e-3);
    const std::int32_t key_block = first_blocks[static_cast<std::size_t>(row.sequence)];
    for (std::size_t i = 0; c.q_f16 && key_block >= 0 && i < kv_width; ++i) {
      const std::size_t slot = static_cast<std::size_t>(row.slot), block = static_cast<std::size_t>(key_block) + slot / kPageSlots;
      std::uint16_t& key = got_keys[((block * c.kv_heads + i / c.dim) * kPageSlots + slot % kPageSlots) * c.dim + i % c.dim];
      const std::size_t pair = i % c.dim % half;
      const bool first = i % c.dim < half;
      const float other = stored_k[first ? i + half : i - half];
      const float want = stored_k[i] * scene.cos[angle + pair] + (first ? -other : other) * scene.sin[angle + pair];
      ASSERT_NEAR(f16_to_f32(key), want, 0x1.01p-11f * std::abs(want) + 1e-6f) << i;
      key = 0xFFFF;
    }
    EXPECT_LT(distance(stored_v, as_double(v)), 3e-3);
    if (c.probe) {
      std::vector<double> both = as_double(k);
      both.insert(both.end(), v.begin(), v.end());
      EXPECT_LT(distance({got_probe.begin() + static_cast<std::ptrdiff_t>(r * 2 * kv_width), got_probe.end()}, both), 1e-6);
    }
    if (c.layer > 0) continue;
    positions[scene.place(static_cast<std::size_t>(row.sequence), static_cast<std::size_t>(row.slot))] = row.position;
    groups[scene.place(static_cast<std::size_t>(row.sequence), static_cast<std::size_t>(row.slot))] = row.group;
  }
  for (std::size_t i = c.q_f32 ? done * q_width : 0; i < got_q.size(); ++i) ASSERT_TRUE(std::isnan(got_q[i]));
  for (std::size_t i = c.q_f16 ? done * q_width : 0; i < got_half.size(); ++i) ASSERT_EQ(got_half[i], 0xFFFF);
  for (std::size_t i = c.probe ? done * 2 * kv_width : 0; i < got_probe.size(); ++i) ASSERT_TRUE(std::isnan(got_probe[i]));
  EXPECT_EQ(got_memory, scene.memory);                                                                            // but for the rows' slots
  EXPECT_EQ(std::count(got_keys.begin(), got_keys.end(), 0xFFFF), static_cast<std::ptrdiff_t>(got_keys.size()));  // likewise
  EXPECT_EQ(device.positions.download(), positions);
  EXPECT_EQ(device.groups.download(), groups);
}

INSTANTIATE_TEST_SUITE_P(Shapes, QkvTest,
                         testing::Values(QkvCase{16, 16, 128, true, 0, false, true, 0}, QkvCase{9, 3, 64, false, 0, true, false, 1},
                                         QkvCase{4, 2, 16, true, 1.5f, true, true, 0}, QkvCase{3, 1, 8, false, 1.5f, false, true, 1},
                                         QkvCase{5, 5, 24, true, 0, false, false, 0}, QkvCase{2, 2, 256, true, 0.5f, true, true, 0},
                                         QkvCase{33, 3, 64, true, 0, false, true, 0}, QkvCase{65, 1, 128, true, 0, true, false, 1, true},
                                         QkvCase{16, 16, 128, true, 0, false, true, 0, true, HalfType::kF16, false, true},
                                         QkvCase{9, 3, 64, false, 0, true, false, 1, true, HalfType::kBF16, true, false},
                                         QkvCase{4, 2, 16, true, 1.5f, true, true, 0, true, HalfType::kF16},
                                         QkvCase{5, 5, 48, true, 0.5f, false, false, 0, true, HalfType::kBF16, false, false},
                                         QkvCase{3, 1, 8, true, 0, false, true, 1, false, HalfType::kF16, false, true},
                                         QkvCase{4, 4, 32, true, 1, false, true, 1, false, HalfType::kF16, false, false}));

}  // namespace
}  // namespace gritstone::cuda
