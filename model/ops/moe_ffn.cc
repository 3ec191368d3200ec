#include "model/ops/moe_ffn.h"

#include <algorithm>
#include <numeric>

namespace gritstone {
namespace {

// Ids of the `used` largest of n probabilities, largest first; equal ones by id.
void top_k(const float* p, std::size_t n, std::size_t used, std::vector<std::uint32_t>& order) {
  order.resize(n);
  std::iota(order.begin(), order.end(), 0u);
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(used), order.end(),
                    [&](std::uint32_t a, std::uint32_t b) { return p[a] != p[b] ? p[a] > p[b] : a < b; });
}

}  // namespace

void MoeFfn::route(OpContext& context, const LayerWeights& weights, const Activations& normed, std::size_t rows) {
  const std::size_t experts = weights.gate.size();
  const std::size_t used = config_.experts > 0 ? config_.experts_used : 1;
  std::vector<std::uint32_t> choices(rows * used, 0);
  weight_of_choice_.assign(rows * used, 1.0f);
  if (config_.experts > 0) {
    probabilities_ = router_.floats(rows * experts);
    run_products(context, {Product{&weights.router, &normed, nullptr, rows, probabilities_, experts}});
    constexpr std::size_t kRowsPerTask = 16;
    context.pool().parallel_for((rows + kRowsPerTask - 1) / kRowsPerTask, [&](std::size_t task, std::size_t) {
      thread_local std::vector<std::uint32_t> order;
      for (std::size_t row = task * kRowsPerTask; row < std::min(rows, (task + 1) * kRowsPerTask); ++row) {
        float* p = probabilities_ + row * experts;
        context.vector().softmax(p, experts);
        top_k(p, experts, used, order);
        float sum = 0.0f;
        for (std::size_t j = 0; j < used; ++j) sum += p[order[j]];
        for (std::size_t j = 0; j < used; ++j) {
          choices[row * used + j] = order[j];
          weight_of_choice_[row * used + j] = config_.norm_topk_prob ? p[order[j]] / sum : p[order[j]];
        }
      }
    });
  }
  // Counting sort of the pairs by expert.
  begin_.assign(experts + 1, 0);
  for (const std::uint32_t expert : choices) ++begin_[expert + 1];
  std::partial_sum(begin_.begin(), begin_.end(), begin_.begin());
  std::vector<std::size_t> next(begin_.begin(), begin_.end() - 1);
  token_.resize(choices.size());
  pair_of_choice_.resize(choices.size());
  for (std::size_t i = 0; i < choices.size(); ++i) {
    const std::size_t pair = next[choices[i]]++;
    token_[pair] = static_cast<std::uint32_t>(i / used);
    pair_of_choice_[i] = pair;
  }
}

void MoeFfn::run(OpContext& context, const LayerWeights& weights, const Activations& normed, float* x, std::size_t rows) {
  route(context, weights, normed, rows);
  const std::size_t experts = weights.gate.size();
  const std::size_t pairs = token_.size(), used = pairs / rows;
  const std::size_t ffn = config_.ffn, hidden = config_.hidden;
  float* gate = gate_.floats(pairs * ffn);
  float* up = up_.floats(pairs * ffn);
  float* down = down_.floats(pairs * hidden);

  std::vector<Product> products;
  for (std::size_t e = 0; e < experts; ++e) {
    const std::size_t first = begin_[e], count = begin_[e + 1] - first;
    if (count == 0) continue;
    products.push_back({&weights.gate[e], &normed, token_.data() + first, count, gate + first * ffn, ffn});
    products.push_back({&weights.up[e], &normed, token_.data() + first, count, up + first * ffn, ffn});
  }
  run_products(context, products);

  // Several pairs a task: one takes less than a microsecond, so that decoding (a handful of pairs) stays on one thread.
  constexpr std::size_t kPairsPerTask = 16;
  context.pool().parallel_for((pairs + kPairsPerTask - 1) / kPairsPerTask, [&](std::size_t task, std::size_t) {
    for (std::size_t pair = task * kPairsPerTask; pair < std::min(pairs, (task + 1) * kPairsPerTask); ++pair) {
      context.vector().silu_mul(gate + pair * ffn, up + pair * ffn, ffn);
    }
  });
  const bool panels = weights.down.front().layout == MatrixLayout::kPanels;
  const Activations& inner = hidden_rows_.set(context, gate, pairs, ffn, panels);

  if (all_pairs_.size() < pairs) {
    all_pairs_.resize(pairs);
    std::iota(all_pairs_.begin(), all_pairs_.end(), 0u);
  }
  products.clear();
  for (std::size_t e = 0; e < experts; ++e) {
    const std::size_t first = begin_[e], count = begin_[e + 1] - first;
    if (count == 0) continue;
    products.push_back({&weights.down[e], &inner, all_pairs_.data() + first, count, down + first * hidden, hidden});
  }
  run_products(context, products);

  context.pool().parallel_for(rows, [&](std::size_t row, std::size_t) {
    for (std::size_t j = 0; j < used; ++j) {
      const std::size_t choice = row * used + j;
      context.vector().add_scaled(x + row * hidden, down + pair_of_choice_[choice] * hidden, weight_of_choice_[choice], hidden);
    }
  });
}

}  // namespace gritstone
