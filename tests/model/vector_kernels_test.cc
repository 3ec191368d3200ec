// Every vector kernel on every ISA present: against plain double arithmetic, and bit for bit against the scalar table.
#include "model/kernels/vector_kernels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "model/kernels/kernel_table.h"

namespace gritstone {
namespace {

std::vector<float> random_floats(std::size_t n, std::uint64_t seed, float scale = 1.0f) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(n);
  for (float& value : values) value = scale * normal(random);
  return values;
}

class VectorKernelTest : public ::testing::TestWithParam<KernelTable> {
 protected:
  const VectorKernels& k_ = *GetParam().vector;
  const VectorKernels& scalar_ = vector_kernels_scalar();
  // Widths around the 16 lanes and real ones.
  const std::vector<std::size_t> widths_ = {1, 2, 8, 15, 16, 17, 31, 48, 64, 100, 576, 2048};
};

TEST_P(VectorKernelTest, RmsNorm) {
  for (const std::size_t n : widths_) {
    const std::vector<float> x = random_floats(n, n), w = random_floats(n, n + 1);
    std::vector<float> y(n), z(n);
    k_.rms_norm(x.data(), w.data(), 1e-5f, y.data(), n);
    scalar_.rms_norm(x.data(), w.data(), 1e-5f, z.data(), n);
    EXPECT_EQ(y, z) << n;
    double squares = 0;
    for (const float v : x) squares += static_cast<double>(v) * v;
    const double scale = 1.0 / std::sqrt(squares / static_cast<double>(n) + 1e-5);
    for (std::size_t i = 0; i < n; ++i) EXPECT_NEAR(y[i], x[i] * scale * w[i], 1e-5 * (1 + std::abs(y[i])));
  }
}

TEST_P(VectorKernelTest, SiluMulOverTheWholeRange) {
  for (const std::size_t n : widths_) {
    std::vector<float> gate = random_floats(n, n, 20.0f), up = random_floats(n, n + 1);
    gate[0] = -200.0f;
    std::vector<float> expected(n), z = gate;
    for (std::size_t i = 0; i < n; ++i) expected[i] = static_cast<float>(gate[i] / (1.0 + std::exp(-static_cast<double>(gate[i]))) * up[i]);
    k_.silu_mul(gate.data(), up.data(), n);
    scalar_.silu_mul(z.data(), up.data(), n);
    EXPECT_EQ(gate, z) << n;
    for (std::size_t i = 0; i < n; ++i) EXPECT_NEAR(gate[i], expected[i], 1e-6 * (1 + std::abs(expected[i]))) << i;
  }
}

TEST_P(VectorKernelTest, AddAndAddScaled) {
  for (const std::size_t n : widths_) {
    const std::vector<float> x = random_floats(n, n), y0 = random_floats(n, n + 1);
    std::vector<float> y = y0, z = y0;
    k_.add(y.data(), x.data(), n);
    for (std::size_t i = 0; i < n; ++i) EXPECT_EQ(y[i], y0[i] + x[i]);
    y = y0;
    k_.add_scaled(y.data(), x.data(), 0.37f, n);
    scalar_.add_scaled(z.data(), x.data(), 0.37f, n);
    EXPECT_EQ(y, z) << n;
    for (std::size_t i = 0; i < n; ++i) EXPECT_NEAR(y[i], y0[i] + 0.37 * x[i], 1e-5);
  }
}

TEST_P(VectorKernelTest, Softmax) {
  for (const std::size_t n : widths_) {
    std::vector<float> x = random_floats(n, n, 10.0f), z = x;
    double sum = 0;
    const float top = *std::max_element(x.begin(), x.end());
    std::vector<double> expected(n);
    for (std::size_t i = 0; i < n; ++i) sum += expected[i] = std::exp(static_cast<double>(x[i]) - top);
    k_.softmax(x.data(), n);
    scalar_.softmax(z.data(), n);
    EXPECT_EQ(x, z) << n;
    for (std::size_t i = 0; i < n; ++i) EXPECT_NEAR(x[i], expected[i] / sum, 1e-6);
  }
}

TEST_P(VectorKernelTest, RopeRotatesPairsHalfApart) {
  for (const std::size_t n : {2u, 8u, 24u, 32u, 64u, 128u}) {
    std::vector<float> x = random_floats(n, n), cos(n / 2), sin(n / 2);
    for (std::size_t i = 0; i < n / 2; ++i) {
      cos[i] = std::cos(0.3f * static_cast<float>(i + 1));
      sin[i] = std::sin(0.3f * static_cast<float>(i + 1));
    }
    const std::vector<float> before = x;
    std::vector<float> z = x;
    k_.rope(x.data(), cos.data(), sin.data(), 0.5f, n);
    scalar_.rope(z.data(), cos.data(), sin.data(), 0.5f, n);
    EXPECT_EQ(x, z) << n;
    for (std::size_t i = 0; i < n / 2; ++i) {
      EXPECT_NEAR(x[i], 0.5 * (before[i] * cos[i] - before[i + n / 2] * sin[i]), 1e-6);
      EXPECT_NEAR(x[i + n / 2], 0.5 * (before[i + n / 2] * cos[i] + before[i] * sin[i]), 1e-6);
    }
  }
}

std::size_t row_bytes_of(KvFormat format, std::size_t n) {
  return format == KvFormat::kF32 ? n * 4 : format == KvFormat::kBF16 ? n * 2 : n + 4;
}

TEST_P(VectorKernelTest, KvRoundTrip) {
  for (const KvFormat format : {KvFormat::kF32, KvFormat::kBF16, KvFormat::kInt8}) {
    for (const std::size_t n : {8u, 16u, 24u, 64u, 128u}) {
      for (const float scale : {0.0f, 1e-3f, 1.0f, 300.0f}) {
        const std::vector<float> x = random_floats(n, n, scale);
        std::vector<std::uint8_t> row(row_bytes_of(format, n)), other(row.size());
        k_.kv_encode(format, x.data(), row.data(), n);
        scalar_.kv_encode(format, x.data(), other.data(), n);
        EXPECT_EQ(row, other);
        std::vector<float> back(n);
        k_.kv_decode(format, row.data(), back.data(), n);
        float top = 0;
        for (const float v : x) top = std::max(top, std::abs(v));
        for (std::size_t i = 0; i < n; ++i) {
          const double bound = format == KvFormat::kF32 ? 0 : format == KvFormat::kBF16 ? std::abs(x[i]) / 256.0 : top / 127.0 * 0.501;
          EXPECT_LE(std::abs(back[i] - x[i]), bound + 1e-30);
        }
        // What is stored is a fixed point: a restored state equals a fresh one.
        k_.kv_encode(format, back.data(), other.data(), n);
        if (format != KvFormat::kInt8) {
          EXPECT_EQ(row, other);
        }
      }
    }
  }
}

TEST_P(VectorKernelTest, Int8ToBf16EqualsDecodingAndEncoding) {
  for (const std::size_t n : {8u, 16u, 24u, 64u, 100u, 128u}) {
    const std::size_t rows = 5, in_row = row_bytes_of(KvFormat::kInt8, n), out_row = row_bytes_of(KvFormat::kBF16, n);
    std::vector<std::uint8_t> in(rows * in_row), out(rows * out_row), expected(out.size());
    for (std::size_t r = 0; r < rows; ++r) {
      std::vector<float> x = random_floats(n, n + r);
      scalar_.kv_encode(KvFormat::kInt8, x.data(), in.data() + r * in_row, n);
      scalar_.kv_decode(KvFormat::kInt8, in.data() + r * in_row, x.data(), n);
      scalar_.kv_encode(KvFormat::kBF16, x.data(), expected.data() + r * out_row, n);
    }
    k_.int8_to_bf16(in.data(), out.data(), rows, n);
    EXPECT_EQ(out, expected) << n;
  }
}

// A sequence of random KV rows, and attention over it by definition.
struct AttentionCase {
  KvFormat format;
  std::size_t dim, slots;
  std::vector<std::uint8_t> k, v;
  std::vector<std::int32_t> positions, groups;
  std::vector<float> cos, sin;

  AttentionCase(KvFormat f, std::size_t d, std::size_t n) : format(f), dim(d), slots(n) {
    const std::size_t blocks = (n + kKvBlock - 1) / kKvBlock, row = row_bytes_of(f, d);
    k.resize(blocks * kKvBlock * row);
    v.resize(blocks * kKvBlock * row);
    for (std::size_t i = 0; i < n; ++i) {
      vector_kernels_scalar().kv_encode(f, random_floats(d, i).data(), k.data() + i * row, d);
      vector_kernels_scalar().kv_encode(f, random_floats(d, i + 1000).data(), v.data() + i * row, d);
      positions.push_back(static_cast<std::int32_t>((i * 7) % 200));
      groups.push_back(static_cast<std::int32_t>(i / 20 % 3));
    }
    for (std::size_t p = 0; p < 200; ++p) {
      for (std::size_t i = 0; i < d / 2; ++i) {
        cos.push_back(std::cos(static_cast<float>(p) / static_cast<float>(i + 1)));
        sin.push_back(std::sin(static_cast<float>(p) / static_cast<float>(i + 1)));
      }
    }
  }

  std::vector<float> run(const VectorKernels& kernels, const std::vector<float>& q, const std::vector<std::size_t>& visible,
                         const std::vector<std::int32_t>& group, bool grouped) const {
    const std::size_t n = visible.size(), row = row_bytes_of(format, dim);
    std::vector<float> out(n * dim), scratch(attention_scratch(dim, n));
    std::vector<const float*> queries(n);
    std::vector<float*> outputs(n);
    for (std::size_t i = 0; i < n; ++i) {
      queries[i] = q.data() + i * dim;
      outputs[i] = out.data() + i * dim;
    }
    std::vector<const std::uint8_t*> k_blocks, v_blocks;
    for (std::size_t at = 0; at < k.size(); at += kKvBlock * row) {
      k_blocks.push_back(k.data() + at);
      v_blocks.push_back(v.data() + at);
    }
    AttentionTask task;
    task.format = format;
    task.head_dim = dim;
    task.row_bytes = row;
    task.k_blocks = k_blocks.data();
    task.v_blocks = v_blocks.data();
    task.slot_position = positions.data();
    task.slot_group = grouped ? groups.data() : nullptr;
    task.cos = cos.data();
    task.sin = sin.data();
    task.queries = n;
    task.q = queries.data();
    task.out = outputs.data();
    task.visible = visible.data();
    task.group = group.data();
    task.scratch = scratch.data();
    kernels.attention(task);
    return out;
  }

  std::vector<double> by_definition(const float* q, std::size_t visible, std::int32_t group, bool grouped) const {
    const std::size_t row = row_bytes_of(format, dim);
    std::vector<double> weights, out(dim, 0.0);
    double sum = 0;
    std::vector<float> x(dim);
    for (std::size_t j = 0; j < visible; ++j) {
      vector_kernels_scalar().kv_decode(format, k.data() + j * row, x.data(), dim);
      double dot = 0;
      for (std::size_t i = 0; i < dim / 2; ++i) {
        const double c = cos[static_cast<std::size_t>(positions[j]) * (dim / 2) + i],
                     s = sin[static_cast<std::size_t>(positions[j]) * (dim / 2) + i];
        dot += q[i] * (x[i] * c - x[i + dim / 2] * s) + q[i + dim / 2] * (x[i + dim / 2] * c + x[i] * s);
      }
      const bool hidden = grouped && group >= 0 && groups[j] != 0 && groups[j] != group;
      weights.push_back(hidden ? 0.0 : std::exp(dot));
      sum += weights.back();
    }
    for (std::size_t j = 0; j < visible; ++j) {
      vector_kernels_scalar().kv_decode(format, v.data() + j * row, x.data(), dim);
      for (std::size_t i = 0; i < dim; ++i) out[i] += weights[j] / sum * x[i];
    }
    return out;
  }
};

TEST_P(VectorKernelTest, AttentionEqualsItsDefinition) {
  for (const KvFormat format : {KvFormat::kF32, KvFormat::kBF16, KvFormat::kInt8}) {
    for (const std::size_t dim : {8u, 16u, 24u, 64u, 128u}) {
      for (const std::size_t slots : {1u, 63u, 64u, 65u, 200u}) {
        const AttentionCase test(format, dim, slots);
        const std::vector<float> q = random_floats(5 * dim, 77, 1.0f / std::sqrt(static_cast<float>(dim)));
        const std::vector<std::size_t> visible = {slots, 1, (slots + 1) / 2, slots, slots};
        const std::vector<std::int32_t> group = {-1, 0, 1, 2, 0};
        for (const bool grouped : {false, true}) {
          const std::vector<float> out = test.run(k_, q, visible, group, grouped);
          EXPECT_EQ(out, test.run(scalar_, q, visible, group, grouped)) << "bits differ from scalar";
          for (std::size_t i = 0; i < visible.size(); ++i) {
            const std::vector<double> expected = test.by_definition(q.data() + i * dim, visible[i], group[i], grouped);
            for (std::size_t d = 0; d < dim; ++d) EXPECT_NEAR(out[i * dim + d], expected[d], 2e-5) << "query " << i << " of dim " << dim;
            // A query alone gives the same bits as in a tile.
            const std::vector<float> alone(q.begin() + static_cast<std::ptrdiff_t>(i * dim),
                                           q.begin() + static_cast<std::ptrdiff_t>((i + 1) * dim));
            const std::vector<float> single = test.run(k_, alone, {visible[i]}, {group[i]}, grouped);
            EXPECT_TRUE(std::equal(single.begin(), single.end(), out.begin() + static_cast<std::ptrdiff_t>(i * dim)));
          }
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(EveryIsa, VectorKernelTest, ::testing::ValuesIn(available_kernels()),
                         [](const auto& table) { return std::string(table.param.isa); });

}  // namespace
}  // namespace gritstone
