// Larger steps, on the tensor cores.
#include <algorithm>

#include "model/cuda_transformer.h"

namespace gritstone {

void CudaTransformer::dense(const cuda::DeviceMatrix& w, const cuda::half_bits* x, std::size_t rows, float* y, bool add) {
  if (w.format == cuda::WeightFormat::kBF16 && !deterministic_) return blas_.linear(w, x, u32(rows), y, add);
  cuda::gemm(stream_, w, x, u32(rows), y, add, deterministic_);
}

StepLogits CudaTransformer::matrix_forward(const StepRows& step, StepObserver& observer) {
  const std::size_t last = config_.layers - 1;
  // Rows that nobody looks at afterwards are done once the last layer has stored their K and V.
  const bool fewer = !observer.wants_last_layer(config_.layers) && step.logit_rows.size() < step.active(last);
  const StepRows wanted = fewer ? step.wanted() : StepRows();
  matrix_step_.fill(step, true);
  if (fewer) last_step_.reserve_for(matrix_step_);
  // What is wanted at last sees no more than the step does; of its rows, those in tiles here may be attended one by one there.
  const Sizes sizes{
      step.size(),
      step.sequences.size(),
      wanted.size(),
      std::max(matrix_step_.vec_rows(step.size()), std::min(wanted.size(), CudaStep::kVecAttentionRows * wanted.sequences.size())),
      matrix_step_.key_blocks(),
      step.logit_rows.size(),
      kTopSizes[top_variant(step)]};
  std::size_t bytes = 0;
  carve(sizes, false, nullptr, bytes);
  if (matrix_memory_.bytes() < bytes) {
    matrix_memory_ = cuda::DeviceBuffer();  // first, so that both never exist at once
    matrix_memory_ = cuda::DeviceBuffer(bytes);
  }
  Activations a = carve(sizes, false, matrix_memory_.as<std::uint8_t>(), bytes);
  matrix_step_.upload(stream_);
  const bool loading = spans_.pending();
  if (loading) spans_.begin();
  cuda::embed_rows(stream_, weights_.embedding(), matrix_step_.view().token, u32(step.size()), a.x);
  observe_hidden(0, step.size(), &observer, a);
  for (std::size_t layer = 0; layer < config_.layers; ++layer) {
    if (loading) spans_.advance(layer, stream_);
    if (step.projected(layer) == 0) continue;
    if (fewer && layer == last) {
      last_step_.fill(wanted, false);  // the device has work for a while
      last_step_.upload(stream_);
      project(step, last_step_, wanted.size(), layer, observer, a);
      keep_wanted(wanted.size(), a);
      attend_and_feed(wanted, last_step_, layer, observer, a);
    } else {
      project(step, matrix_step_, step.active(layer), layer, observer, a);
      attend_and_feed(step, matrix_step_, layer, observer, a);
    }
  }
  if (loading) spans_.end();
  const StepLogits logits = matrix_logits(step, (fewer ? last_step_ : matrix_step_).logit_rows(), a);
  wait("a step");
  return logits;
}

void CudaTransformer::project(const StepRows& step, const CudaStep& attending, std::size_t attending_rows, std::size_t layer,
                              StepObserver& observer, const Activations& a) {
  const CudaLayer& w = weights_.layers()[layer];
  const std::size_t projected = step.projected(layer);
  // Experts: the layer before left its rows normed.
  if (layer == 0 || config_.experts == 0) {
    cuda::rms_norm(stream_, a.x, nullptr, u32(projected), u32(config_.hidden), w.attention_norm, config_.rms_norm_eps, a.normed,
                   half_type(w.qkv.format), nullptr);
  }
  cuda::QkvArguments qkv;
  if (!deterministic_ && cuda::gemm_half_takes(w.qkv, u32(projected))) {
    // f16: K and V are rounded to bf16 for their pages, and q to f16, in any case.
    qkv.qkv_half = reinterpret_cast<cuda::half_bits*>(a.qkv);
    qkv.qkv_type = cuda::HalfType::kF16;
    cuda::gemm_half(stream_, w.qkv, a.normed, u32(projected), reinterpret_cast<cuda::half_bits*>(a.qkv), qkv.qkv_type);
  } else {
    qkv.qkv = a.qkv;
    dense(w.qkv, a.normed, projected, a.qkv, false);
  }
  qkv.q = attending.vec_rows(attending_rows) > 0 ? a.q : nullptr;
  qkv.q_half = attending.tiles(attending_rows) > 0 ? a.q_half : nullptr;
  if (attending.stores_keys() && qkv.q_half != nullptr) {
    qkv.keys = a.keys;
    qkv.key_first = attending.key_first();
  }
  qkv_store(layer, projected, &observer, matrix_step_, a, qkv);
}

void CudaTransformer::keep_wanted(std::size_t rows, Activations& a) {
  const std::int32_t* const from = matrix_step_.logit_rows();
  const std::size_t q_width = config_.q_width();
  cuda::gather_rows(stream_, a.x, from, u32(rows), config_.hidden * sizeof(float), a.last_x);
  if (last_step_.vec_rows(rows) > 0) cuda::gather_rows(stream_, a.q, from, u32(rows), q_width * sizeof(float), a.last_q);
  if (last_step_.tiles(rows) > 0) cuda::gather_rows(stream_, a.q_half, from, u32(rows), q_width * sizeof(__half), a.last_q_half);
  a.x = a.last_x;
  a.q = a.last_q;
  a.q_half = a.last_q_half;
}

void CudaTransformer::attend_and_feed(const StepRows& step, const CudaStep& s, std::size_t layer, StepObserver& observer,
                                      const Activations& a) {
  const CudaLayer& w = weights_.layers()[layer];
  const std::size_t rows = step.active(layer), vec_rows = s.vec_rows(rows), tiles = s.tiles(rows);
  if (rows == 0) return;
  cuda::AttentionArguments arguments = attention_arguments(layer, a, s.grouped());
  arguments.out_half = a.attended;
  arguments.half_type = half_type(w.attention_output.format);
  if (vec_rows > 0) {
    cuda::attention_vec(stream_, arguments, s.view(), s.vec_list(), u32(vec_rows), splits(vec_rows), kv_, a.attention_workspace);
  }
  if (tiles > 0) {
    cuda::rotate_keys(stream_, s.rotated_list(), u32(s.rotated_blocks(rows)), s.view(), kv_, u32(layer), rope_, a.keys);
    cuda::attention_tiles(stream_, arguments, s.view(), s.tile_list(), u32(tiles), kv_, a.keys);
  }
  dense(w.attention_output, a.attended, rows, a.x, true);
  feed_forward(step, layer, observer, a);
  observe_hidden(layer + 1, rows, &observer, a);
}

// With experts, also norms the next layer's rows into a.normed, which nothing reads any more.
void CudaTransformer::feed_forward(const StepRows& step, std::size_t layer, StepObserver& observer, const Activations& a) {
  const CudaLayer& w = weights_.layers()[layer];
  const std::size_t rows = step.active(layer);
  const bool experts = config_.experts > 0;
  const std::uint32_t used = experts ? u32(config_.experts_used) : 1;
  const cuda::HalfType normed_type = half_type(w.gate_up.format);
  if (experts && !deterministic_ && cuda::norm_route_takes(w.router)) {
    const cuda::Routing routing{observer.wants_router(layer) ? a.router : nullptr, a.chosen, a.weights, used, config_.norm_topk_prob};
    cuda::norm_route(stream_, a.x, u32(rows), w.ffn_norm, config_.rms_norm_eps, w.router, routing, a.normed, normed_type);
  } else {
    cuda::rms_norm(stream_, a.x, nullptr, u32(rows), u32(config_.hidden), w.ffn_norm, config_.rms_norm_eps, a.normed, normed_type,
                   experts ? a.normed_f32 : nullptr);
    if (experts && deterministic_) {
      cuda::linear_f32(stream_, w.router, a.normed_f32, u32(rows), a.router);
    } else if (experts) {
      blas_.linear(w.router, a.normed_f32, u32(rows), a.router);
    }
    if (experts) cuda::route(stream_, a.router, u32(rows), u32(config_.experts), used, config_.norm_topk_prob, a.chosen, a.weights);
  }
  if (observer.wants_router(layer) && experts) observer.on_router(layer, to_host(a.router, rows * config_.experts), rows);
  // Dense: expert 0 for every row.
  if (!experts) cuda::check(cudaMemsetAsync(a.chosen, 0, rows * sizeof(std::int32_t), stream_), "routing");
  cuda::ExpertPairs pairs = a.pairs;
  pairs.pairs = u32(rows) * used;
  cuda::sort_pairs(stream_, a.chosen, u32(rows), used, w.gate_up.experts, a.sort_scratch, pairs);
  cuda::experts_gate_up_gemm(stream_, w.gate_up, a.normed, pairs, a.h, half_type(w.down.format), deterministic_);
  if (!experts) return dense(w.down, a.h, rows, a.x, true);
  cuda::experts_down_gemm(stream_, w.down, a.h, pairs, a.y, deterministic_);
  cuda::NextNorm next;
  if (layer + 1 < config_.layers) {
    const CudaLayer& after = weights_.layers()[layer + 1];
    next = {after.attention_norm, config_.rms_norm_eps, u32(step.projected(layer + 1)), a.normed, half_type(after.qkv.format)};
  }
  cuda::combine_experts(stream_, a.y, half_type(w.down.format), pairs.pair_of_choice, a.weights, u32(rows), used, u32(config_.hidden), a.x,
                        next);
}

StepLogits CudaTransformer::matrix_logits(const StepRows& step, const std::int32_t* logit_rows, const Activations& a) {
  const std::size_t vocab = config_.vocab, total = step.logit_rows.size(), top = kTopSizes[top_variant(step)];
  if (many_tops_.bytes() < total * top * sizeof(TopLogit)) many_tops_ = cuda::PinnedBuffer(total * top * sizeof(TopLogit) * 3 / 2);
  StepLogits logits{{}, {many_tops_.as<TopLogit>(), total * top}, top};
  many_logits_.clear();
  for (std::size_t first = 0; first < total; first += kLogitRows) {
    const std::size_t rows = std::min(kLogitRows, total - first);
    cuda::rms_norm(stream_, a.x, logit_rows + first, u32(rows), u32(config_.hidden), weights_.output_norm(), config_.rms_norm_eps, a.normed,
                   half_type(weights_.output().format), nullptr);
    dense(weights_.output(), a.normed, rows, a.logits, false);
    const auto tops = std::span(step.logit_tops).subspan(first, rows);
    const std::size_t whole = static_cast<std::size_t>(std::count(tops.begin(), tops.end(), 0u));
    if (whole < rows) {
      cuda::top_logits(stream_, a.logits, u32(rows), u32(vocab), u32(top), a.top_workspace, many_tops_.as<TopLogit>() + first * top);
    }
    if (whole == 0) continue;
    reserve_host(whole * vocab);
    queue_whole_rows(tops, a.logits, host_.as<float>());
    wait("a step");
    logits.whole = {host_.as<float>(), whole * vocab};
    if (total > kLogitRows) many_logits_.insert(many_logits_.end(), logits.whole.begin(), logits.whole.end());
  }
  if (total > kLogitRows) logits.whole = many_logits_;
  return logits;
}

}  // namespace gritstone
