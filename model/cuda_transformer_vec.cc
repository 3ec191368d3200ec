// Steps of at most kVecRows rows, and the CUDA graphs of decoding.
#include <algorithm>

#include "model/cuda_transformer.h"

namespace gritstone {

StepLogits CudaTransformer::vec_pass(const StepRows& step, StepObserver& observer) {
  const std::size_t top = kTopSizes[top_variant(step)];
  if (looks_inside(observer) || !replay(step)) {
    vec_step_.fill(step, false);
    vec_step_.upload(stream_);
    vec_forward(step, &observer);
    if (!step.logit_rows.empty()) queue_vec_logits(vec_step_.logit_rows(), step.logit_rows.size(), top);
  }
  const std::size_t whole = queue_whole_rows(step.logit_tops, vec_.logits, vec_logits_.as<float>());
  wait("a step");
  return {{vec_logits_.as<float>(), whole * config_.vocab}, {vec_tops_.as<TopLogit>(), step.logit_rows.size() * top}, top};
}

// Rows that are wanted whole are copied behind it, so that a captured step serves any mixture of wishes.
void CudaTransformer::queue_vec_logits(const std::int32_t* rows, std::size_t count, std::size_t top) {
  cuda::vec_linear(stream_, weights_.output(), vec_.x, rows, weights_.output_norm(), config_.rms_norm_eps, u32(count), vec_.logits, false);
  if (top == 0) return;
  cuda::top_logits(stream_, vec_.logits, u32(count), u32(config_.vocab), u32(top), vec_.top_workspace, vec_tops_.as<TopLogit>());
}

void CudaTransformer::vec_forward(const StepRows& step, StepObserver* observer) {
  const bool loading = spans_.pending();
  if (loading) spans_.begin();
  cuda::embed_rows(stream_, weights_.embedding(), vec_step_.view().token, u32(step.size()), vec_.x);
  observe_hidden(0, step.size(), observer, vec_);
  for (std::size_t layer = 0; layer < config_.layers; ++layer) {
    if (loading) spans_.advance(layer, stream_);
    if (step.projected(layer) > 0) vec_layer(layer, step.projected(layer), step.active(layer), observer);
  }
  if (loading) spans_.end();
}

bool CudaTransformer::looks_inside(const StepObserver& observer) const {
  for (std::size_t layer = 0; layer <= config_.layers; ++layer) {
    if (observer.wants_hidden(layer) || observer.wants_normed(layer) || !observer.pools(layer).empty() || observer.wants_router(layer) ||
        observer.wants_kv(layer))
      return true;
  }
  return false;
}

// Queues a step of decoding: every row ends in logits and nobody looks inside. False, and nothing queued, if this is no such step.
bool CudaTransformer::replay(const StepRows& step) {
  const std::size_t rows = step.size();
  const bool whole = std::all_of(step.sequences.begin(), step.sequences.end(),
                                 [&](const StepSequence& s) { return s.depth == config_.layers && s.rows == 1 && !s.probe; });
  if (!capture_works_ || !whole || spans_.pending() || step.logit_rows.size() != rows) return false;
  vec_step_.fill(step, false);
  const bool grouped = vec_step_.grouped();
  const std::size_t variant = top_variant(step);
  cudaGraphExec_t& graph = graphs_[rows][grouped ? 1 : 0][variant];
  if (graph == nullptr) capture(step, kTopSizes[variant], graph);
  if (graph == nullptr) return false;
  cuda::check(cudaGraphLaunch(graph, stream_), "launch of a decode step");
  return true;
}

void CudaTransformer::capture(const StepRows& step, std::size_t top, cudaGraphExec_t& captured) {
  // Kernels are loaded by their first launch, which a capture does not allow.
  vec_step_.upload(stream_);
  vec_forward(step, nullptr);
  queue_vec_logits(nullptr, step.size(), top);
  wait("a decode step");
  if (cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal) != cudaSuccess) {
    cudaGetLastError();
    capture_works_ = false;
    return;
  }
  cudaGraph_t graph = nullptr;
  try {
    vec_step_.upload(stream_);
    vec_forward(step, nullptr);
    queue_vec_logits(nullptr, step.size(), top);
  } catch (...) {
    cudaStreamEndCapture(stream_, &graph);
    if (graph != nullptr) cudaGraphDestroy(graph);
    throw;
  }
  cuda::check(cudaStreamEndCapture(stream_, &graph), "capture of a decode step");
  const cudaError_t status = cudaGraphInstantiate(&captured, graph, 0);
  cudaGraphDestroy(graph);
  cuda::check(status, "capture of a decode step");
}

void CudaTransformer::vec_layer(std::size_t layer, std::size_t projected, std::size_t rows, StepObserver* observer) {
  const CudaStep& s = vec_step_;
  const Activations& a = vec_;
  const CudaLayer& w = weights_.layers()[layer];
  const float eps = config_.rms_norm_eps;
  cuda::vec_linear(stream_, w.qkv, a.x, nullptr, w.attention_norm, eps, u32(projected), a.qkv, false);
  cuda::QkvArguments qkv;
  qkv.qkv = a.qkv;
  qkv.q = a.q;
  qkv_store(layer, projected, observer, s, a, qkv);
  if (rows == 0) return;
  cuda::AttentionArguments arguments = attention_arguments(layer, a, s.grouped());
  arguments.out_f32 = a.attended_f32;
  cuda::attention_vec(stream_, arguments, s.view(), s.vec_list(), u32(rows), splits(rows), kv_, a.attention_workspace);
  cuda::vec_linear(stream_, w.attention_output, a.attended_f32, nullptr, nullptr, 0.0f, u32(rows), a.x, true);

  cuda::VecRouting routing;
  routing.chosen = a.chosen;
  routing.weights = a.weights;
  if (config_.experts > 0) {
    cuda::vec_linear(stream_, w.router, a.x, nullptr, w.ffn_norm, eps, u32(rows), a.router, false);
    routing.logits = a.router;
    routing.used = u32(config_.experts_used);
    routing.normalise = config_.norm_topk_prob;
    if (observer != nullptr && observer->wants_router(layer)) routing.probabilities = a.normed_f32;
  }
  cuda::vec_experts_gate_up(stream_, w.gate_up, a.x, w.ffn_norm, eps, u32(rows), routing, a.h_f32);
  if (routing.probabilities != nullptr) observer->on_router(layer, to_host(routing.probabilities, rows * config_.experts), rows);
  cuda::vec_experts_down(stream_, w.down, a.h_f32, a.chosen, a.weights, routing.used, u32(rows), a.x);
  observe_hidden(layer + 1, rows, observer, a);
}

}  // namespace gritstone
