#include "model/transformer.h"

#include <algorithm>
#include <span>

namespace gritstone {
namespace {

bool wants_panels(std::initializer_list<const Matrix*> matrices) {
  return std::any_of(matrices.begin(), matrices.end(), [](const Matrix* m) { return m->layout == MatrixLayout::kPanels; });
}

// Moves rows of x, which are ascending, to its front.
void keep_rows(float* x, std::size_t width, std::span<const std::size_t> rows) {
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows[i] != i) std::copy_n(x + rows[i] * width, width, x + i * width);
  }
}

}  // namespace

Transformer::Transformer(const ModelConfig& config, const Weights& weights, const KernelTable& kernels, ThreadPool& threads)
    : config_(config), weights_(weights), context_(kernels, threads, attention_op_scratch(config)), rope_(config), ffn_(config) {}

bool Transformer::forward(const StepRows& step, const KvPool& pool, StepObserver& observer) {
  const std::size_t hidden = config_.hidden;
  hidden_ = x_.floats(step.size() * hidden);
  logit_rows_ = step.logit_rows;
  context_.pool().parallel_for(step.size(),
                               [&](std::size_t row, std::size_t) { weights_.embed(step.tokens[row], hidden_ + row * hidden); });
  observe_hidden(0, step.size(), observer);
  for (std::size_t index = 0; index < config_.layers; ++index) {
    if (step.projected(index) == 0) break;
    if (observer.gives_way()) return false;
    const AttentionInputs inputs = project(step, pool, index, observer);
    const bool last = index + 1 == config_.layers;
    if (last && !observer.wants_last_layer(config_.layers) && step.logit_rows.size() < step.active(index)) {
      const StepRows wanted = step.wanted();
      keep_rows(hidden_, hidden, step.logit_rows);
      keep_rows(q_rows_, config_.q_width(), step.logit_rows);
      logit_rows_ = wanted.logit_rows;
      attend_and_feed(wanted, inputs, observer);
    } else {
      attend_and_feed(step, inputs, observer);
    }
  }
  return true;
}

float* Transformer::norm_rows(const std::vector<float>& weight, std::size_t rows) {
  const std::size_t hidden = config_.hidden;
  float* out = norm_.floats(rows * hidden);
  context_.pool().parallel_for(rows, [&](std::size_t row, std::size_t) {
    context_.vector().rms_norm(hidden_ + row * hidden, weight.data(), config_.rms_norm_eps, out + row * hidden, hidden);
  });
  return out;
}

AttentionInputs Transformer::project(const StepRows& step, const KvPool& pool, std::size_t index, StepObserver& observer) {
  const std::size_t projected_rows = step.projected(index);
  const LayerWeights& w = weights_.layers()[index];
  const std::size_t hidden = config_.hidden, q_width = config_.q_width(), kv_width = config_.kv_width();

  float* q = q_rows_ = q_.floats(projected_rows * q_width);
  float* k = k_.floats(projected_rows * kv_width);
  float* v = v_.floats(projected_rows * kv_width);
  const Activations& normed =
      rows_.set(context_, norm_rows(w.attention_norm, projected_rows), projected_rows, hidden, wants_panels({&w.q, &w.k, &w.v}));
  run_products(context_,
               {Product{&w.q, &normed, nullptr, projected_rows, q, q_width}, Product{&w.k, &normed, nullptr, projected_rows, k, kv_width},
                Product{&w.v, &normed, nullptr, projected_rows, v, kv_width}});
  AttentionInputs inputs;
  inputs.config = &config_;
  inputs.rope = &rope_;
  inputs.pool = &pool;
  inputs.layer = index;
  inputs.rows = projected_rows;
  inputs.q_norm = config_.qk_norm ? w.q_norm.data() : nullptr;
  inputs.k_norm = config_.qk_norm ? w.k_norm.data() : nullptr;
  qkv_norm_rope_store(context_, inputs, step, q, k, v);
  if (observer.wants_kv(index)) observer.on_kv(index, k, v, kv_width, projected_rows);
  return inputs;
}

void Transformer::attend_and_feed(const StepRows& step, const AttentionInputs& inputs, StepObserver& observer) {
  const std::size_t index = inputs.layer, rows = step.active(index), hidden = config_.hidden, q_width = config_.q_width();
  const LayerWeights& w = weights_.layers()[index];
  if (rows == 0) return;
  float* attended = attended_.floats(rows * q_width);
  attention(context_, inputs, step, q_rows_, attended);

  float* projected = projected_.floats(rows * hidden);
  linear(context_, w.attention_output, rows_.set(context_, attended, rows, q_width, wants_panels({&w.attention_output})), projected,
         hidden);
  context_.pool().parallel_for(
      rows, [&](std::size_t row, std::size_t) { context_.vector().add(hidden_ + row * hidden, projected + row * hidden, hidden); });

  const bool panels = wants_panels({&w.gate.front(), &w.up.front()});
  ffn_.run(context_, w, rows_.set(context_, norm_rows(w.ffn_norm, rows), rows, hidden, panels), hidden_, rows);
  if (config_.experts > 0 && observer.wants_router(index)) observer.on_router(index, ffn_.router_probabilities(), rows);
  observe_hidden(index + 1, rows, observer);
}

void Transformer::observe_hidden(std::size_t layers, std::size_t rows, StepObserver& observer) {
  if (observer.wants_hidden(layers)) observer.on_hidden(layers, hidden_, rows);
  const bool whole = observer.wants_normed(layers);
  const std::span<const PoolRows> pools = observer.pools(layers);
  if (!whole && pools.empty()) return;
  const float* normed = norm_rows(weights_.output_norm(), rows);
  if (whole) observer.on_normed(layers, normed, rows);
  constexpr std::size_t kColumns = 256;  // of a task
  const std::size_t hidden = config_.hidden, parts = (hidden + kColumns - 1) / kColumns;
  context_.pool().parallel_for(pools.size() * parts, [&](std::size_t task, std::size_t) {
    const std::size_t column = task % parts * kColumns;
    add_pool_rows(normed, hidden, pools[task / parts], column, std::min(kColumns, hidden - column));
  });
}

void Transformer::logits(float* out) {
  const std::size_t hidden = config_.hidden, rows = logit_rows_.size();
  float* chosen = chosen_.floats(rows * hidden);
  context_.pool().parallel_for(rows, [&](std::size_t i, std::size_t) {
    context_.vector().rms_norm(hidden_ + logit_rows_[i] * hidden, weights_.output_norm().data(), config_.rms_norm_eps, chosen + i * hidden,
                               hidden);
  });
  const Activations& normed = rows_.set(context_, chosen, rows, hidden, wants_panels({&weights_.output()}));
  linear(context_, weights_.output(), normed, out, config_.vocab);
}

}  // namespace gritstone
