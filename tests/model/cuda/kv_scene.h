// For tests of the ops on KV pages: sequences in shuffled pages, all else in the pages poisoned, and attention in double precision.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "model/kernels/cuda/ops.h"
#include "tests/model/cuda/device_array.h"
#include "tests/model/cuda/distance.h"

namespace gritstone::cuda {

inline float bf16_value(std::uint16_t bits) {
  const std::uint32_t word = std::uint32_t{bits} << 16;
  float value;
  std::memcpy(&value, &word, sizeof(value));
  return value;
}
// Nearest even; no NaN.
inline std::uint16_t bf16_bits(float value) {
  std::uint32_t word;
  std::memcpy(&word, &value, sizeof(word));
  return static_cast<std::uint16_t>((word + 0x7FFF + (word >> 16 & 1)) >> 16);
}
inline __half* as_f16(const DeviceArray<std::uint16_t>& array) { return reinterpret_cast<__half*>(array.data()); }
inline bf16* as_bf16(const DeviceArray<std::uint16_t>& array) { return reinterpret_cast<bf16*>(array.data()); }

inline std::vector<float> random_values(std::size_t n, float spread, std::mt19937& random) {
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> values(n);
  for (float& value : values) value = normal(random);
  return values;
}

struct SceneRow {
  std::int32_t sequence = 0, slot = 0, visible = 0, position = 0, group = 0;
};

// Slots [0, lengths[s]) of sequence s hold random K and V in every layer. Positions jump in the middle. Groups of slots: 0 for the first
// quarter, then passages of 50 slots.
class KvScene {
 public:
  KvScene(std::uint32_t layer_count, std::uint32_t kv_head_count, std::uint32_t head_dim, const std::vector<std::uint32_t>& slots,
          unsigned seed, bool grouped = false)
      : layers(layer_count), kv_heads(kv_head_count), dim(head_dim), lengths(slots), random(seed) {
    std::uint32_t needed = 0;
    for (const std::uint32_t length : lengths) {
      stride = std::max(stride, (length + kPageSlots - 1) / kPageSlots);
      needed += (length + kPageSlots - 1) / kPageSlots;
    }
    std::vector<std::uint32_t> pages(needed + 3);
    std::iota(pages.begin(), pages.end(), 0u);
    std::shuffle(pages.begin(), pages.end(), random);
    page_table.assign(lengths.size() * stride, 0x7FFFFFFF);
    memory.assign(pages.size() * layers * 2 * kv_heads * kPageSlots * dim, 0xFFFF);
    positions.assign(pages.size() * kPageSlots, 0x7FFFFFFF);
    groups.assign(pages.size() * kPageSlots, 0x7FFFFFFF);
    std::normal_distribution<float> normal(0, 1);
    for (std::size_t s = 0; s < lengths.size(); ++s) {
      for (std::uint32_t slot = 0; slot < lengths[s]; ++slot) {
        if (slot % kPageSlots == 0) {
          page_table[s * stride + slot / kPageSlots] = pages.back();
          pages.pop_back();
        }
        positions[place(s, slot)] = static_cast<std::int32_t>(slot + (slot > lengths[s] / 2 ? 5 : 0));
        groups[place(s, slot)] = grouped && slot >= lengths[s] / 4 ? static_cast<std::int32_t>(1 + (slot - lengths[s] / 4) / 50) : 0;
        for (std::uint32_t layer = 0; layer < layers; ++layer) {
          for (std::uint32_t head = 0; head < kv_heads; ++head) {
            for (std::uint32_t d = 0; d < dim; ++d) {
              memory[at(s, slot, layer, false, head) + d] = bf16_bits(normal(random));
              memory[at(s, slot, layer, true, head) + d] = bf16_bits(normal(random));
            }
          }
        }
      }
    }
    context = *std::max_element(lengths.begin(), lengths.end()) + 8;
    for (std::size_t i = 0; i < std::size_t{context} * dim / 2; ++i) {
      const double angle = static_cast<double>(i / (dim / 2)) * std::pow(10000.0, -2.0 * static_cast<double>(i % (dim / 2)) / dim);
      cos.push_back(static_cast<float>(std::cos(angle)));
      sin.push_back(static_cast<float>(std::sin(angle)));
    }
  }

  // Index of a slot among all pages' slots.
  std::size_t place(std::size_t sequence, std::size_t slot) const {
    return std::size_t{page_table[sequence * stride + slot / kPageSlots]} * kPageSlots + slot % kPageSlots;
  }
  // Index of a slot's first element of a head.
  std::size_t at(std::size_t sequence, std::size_t slot, std::size_t layer, bool value, std::size_t head) const {
    const std::size_t page = page_table[sequence * stride + slot / kPageSlots];
    return ((((page * layers + layer) * 2 + (value ? 1 : 0)) * kv_heads + head) * kPageSlots + slot % kPageSlots) * dim;
  }
  SceneRow row(std::int32_t sequence, std::int32_t slot, std::int32_t visible, bool sees_all = false) const {
    const std::size_t index = place(static_cast<std::size_t>(sequence), static_cast<std::size_t>(slot));
    return {sequence, slot, visible, positions[index], sees_all ? -1 : groups[index]};
  }

  // K of a slot, rotated.
  std::vector<double> key(std::size_t sequence, std::size_t slot, std::size_t layer, std::size_t head) const {
    const std::uint16_t* k = memory.data() + at(sequence, slot, layer, false, head);
    const std::size_t half = dim / 2, angle = static_cast<std::size_t>(positions[place(sequence, slot)]) * half;
    std::vector<double> rotated(dim);
    for (std::size_t i = 0; i < half; ++i) {
      const double a = static_cast<double>(bf16_value(k[i])), b = static_cast<double>(bf16_value(k[half + i]));
      const double c = static_cast<double>(cos[angle + i]), s = static_cast<double>(sin[angle + i]);
      rotated[i] = a * c - b * s;
      rotated[half + i] = b * c + a * s;
    }
    return rotated;
  }

  // Attention of a row's query (all heads) in double precision.
  std::vector<double> attend(const SceneRow& row, const float* q, std::uint32_t heads, std::size_t layer, bool grouped) const {
    const std::vector<double> query(q, q + std::size_t{heads} * dim);
    const std::size_t sequence = static_cast<std::size_t>(row.sequence);
    std::vector<double> out(std::size_t{heads} * dim);
    for (std::size_t kv_head = 0; kv_head < kv_heads; ++kv_head) {
      std::vector<std::vector<double>> keys;
      std::vector<std::size_t> slots;
      for (std::size_t slot = 0; slot < static_cast<std::size_t>(row.visible); ++slot) {
        const std::int32_t group = groups[place(sequence, slot)];
        if (grouped && row.group >= 0 && group != 0 && group != row.group) continue;
        slots.push_back(slot);
        keys.push_back(key(sequence, slot, layer, kv_head));
      }
      for (std::size_t head = kv_head * heads / kv_heads; head < (kv_head + 1) * heads / kv_heads; ++head) {
        std::vector<double> weights;
        for (const std::vector<double>& k : keys) {
          double dot = 0;
          for (std::size_t d = 0; d < dim; ++d) dot += query[head * dim + d] * k[d];
          weights.push_back(dot);
        }
        const double top = *std::max_element(weights.begin(), weights.end());
        double sum = 0;
        for (double& weight : weights) sum += weight = std::exp(weight - top);
        for (std::size_t i = 0; i < slots.size(); ++i) {
          const std::uint16_t* v = memory.data() + at(sequence, slots[i], layer, true, kv_head);
          for (std::size_t d = 0; d < dim; ++d) out[head * dim + d] += weights[i] / sum * static_cast<double>(bf16_value(v[d]));
        }
      }
    }
    return out;
  }

  std::uint32_t layers, kv_heads, dim, stride = 1, context = 0;
  std::vector<std::uint32_t> lengths;
  std::mt19937 random;
  std::vector<std::uint32_t> page_table;
  std::vector<std::uint16_t> memory;
  std::vector<std::int32_t> positions, groups;
  std::vector<float> cos, sin;
};

// A scene and the rows of a step on the device.
class DeviceScene {
 public:
  DeviceScene(const KvScene& scene, const std::vector<SceneRow>& rows)
      : memory(scene.memory),
        positions(scene.positions),
        groups(scene.groups),
        page_table_(scene.page_table),
        cos_(scene.cos),
        sin_(scene.sin) {
    std::vector<std::int32_t> columns[6];
    for (const SceneRow& row : rows) {
      const std::int32_t values[6] = {0, row.sequence, row.slot, row.visible, row.position, row.group};
      for (std::size_t i = 0; i < 6; ++i) columns[i].push_back(values[i]);
    }
    for (std::size_t i = 0; i < 6; ++i) columns_[i] = DeviceArray<std::int32_t>(columns[i]);
    step.rows = static_cast<std::uint32_t>(rows.size());
    step.token = columns_[0].data();
    step.sequence = columns_[1].data();
    step.slot = columns_[2].data();
    step.visible = columns_[3].data();
    step.position = columns_[4].data();
    step.group = columns_[5].data();
    step.page_table = page_table_.data();
    step.table_stride = scene.stride;
    kv.memory = as_bf16(memory);
    kv.positions = positions.data();
    kv.groups = groups.data();
    kv.layers = scene.layers;
    kv.kv_heads = scene.kv_heads;
    kv.head_dim = scene.dim;
    rope = {cos_.data(), sin_.data()};
  }

  DeviceArray<std::uint16_t> memory;
  DeviceArray<std::int32_t> positions, groups;
  StepView step;
  KvView kv;
  RopeView rope;

 private:
  DeviceArray<std::uint32_t> page_table_;
  DeviceArray<float> cos_, sin_;
  DeviceArray<std::int32_t> columns_[6];
};

}  // namespace gritstone::cuda
