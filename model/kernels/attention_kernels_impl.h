// Attention of a tile of queries over KV blocks: the part of vector_kernels_impl.h with the online softmax.

namespace gritstone {
namespace {

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

}  // namespace
}  // namespace gritstone
