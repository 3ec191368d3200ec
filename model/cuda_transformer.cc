#include "model/cuda_transformer.h"

#include <algorithm>
#include <cstring>

#include "model/ops/attention.h"

namespace gritstone {
namespace {

constexpr std::size_t kAlign = 256;
constexpr std::uint32_t kMaxSplits = 32;
// Rows of logits in device memory at once: 50 MB for a vocabulary of 50,000.
constexpr std::size_t kLogitRows = 256;

std::uint32_t u32(std::size_t n) noexcept { return static_cast<std::uint32_t>(n); }

// Hands out parts of a block of memory, or only counts while it is null.
class Carver {
 public:
  explicit Carver(std::uint8_t* memory) : memory_(memory) {}
  template <typename T>
  void take(T*& out, std::size_t count) {
    out = memory_ != nullptr ? reinterpret_cast<T*>(memory_ + used_) : nullptr;
    used_ += cuda::ceil_div(count * sizeof(T), kAlign) * kAlign;
  }
  std::size_t used() const noexcept { return used_; }

 private:
  std::uint8_t* memory_;
  std::size_t used_ = 0;
};

}  // namespace

CudaTransformer::CudaTransformer(const ModelConfig& config, const CudaWeights& weights, const cuda::KvView& kv, CudaSpans& spans,
                                 cuda::Stream stream, bool deterministic)
    : config_(config),
      weights_(weights),
      kv_(kv),
      spans_(spans),
      stream_(stream),
      deterministic_(deterministic),
      blas_(stream),
      matrix_step_(config, !deterministic, 0),
      vec_step_(config, true, cuda::kVecRows),
      vec_logits_(cuda::kVecRows * config.vocab * sizeof(float)) {
  const RopeTable table(config);
  rope_memory_ = cuda::DeviceBuffer(2 * table.cos.size() * sizeof(float));
  float* const cos = rope_memory_.as<float>();
  float* const sin = cos + table.cos.size();
  cuda::check(cudaMemcpy(cos, table.cos.data(), table.cos.size() * sizeof(float), cudaMemcpyHostToDevice), "upload of the RoPE table");
  cuda::check(cudaMemcpy(sin, table.sin.data(), table.sin.size() * sizeof(float), cudaMemcpyHostToDevice), "upload of the RoPE table");
  rope_ = {cos, sin};
  const Sizes sizes{cuda::kVecRows, cuda::kVecRows, 0, cuda::kVecRows};
  std::size_t bytes = 0;
  carve(sizes, true, nullptr, bytes);
  vec_memory_ = cuda::DeviceBuffer(bytes);
  vec_ = carve(sizes, true, vec_memory_.as<std::uint8_t>(), bytes);
}

CudaTransformer::~CudaTransformer() {
  cudaStreamSynchronize(stream_);
  for (const auto& by_rows : graphs_) {
    for (const cudaGraphExec_t graph : by_rows) {
      if (graph != nullptr) cudaGraphExecDestroy(graph);
    }
  }
}

CudaTransformer::Activations CudaTransformer::carve(const Sizes& sizes, bool vec, std::uint8_t* memory, std::size_t& bytes) const {
  const std::size_t rows = sizes.rows, hidden = config_.hidden, q_width = config_.q_width(), kv_width = config_.kv_width();
  const std::size_t experts = std::max<std::size_t>(config_.experts, 1), used = config_.experts > 0 ? config_.experts_used : 1;
  const std::size_t pairs = rows * used;
  Carver carver(memory);
  Activations a;
  carver.take(a.x, rows * hidden);
  carver.take(a.qkv, rows * (q_width + 2 * kv_width));
  carver.take(a.q, rows * q_width);
  carver.take(a.probe, rows * 2 * kv_width);
  carver.take(a.router, rows * experts);
  carver.take(a.weights, pairs);
  carver.take(a.chosen, pairs);
  carver.take(a.normed_f32, rows * hidden);
  std::uint32_t most_splits = 1;
  for (std::size_t n = 1; n <= sizes.vec_attention_rows; ++n) most_splits = std::max(most_splits, splits(n));
  carver.take(a.attention_workspace,
              cuda::attention_vec_workspace(u32(sizes.vec_attention_rows), u32(config_.heads), u32(config_.head_dim), most_splits));
  carver.take(a.logits, std::min(sizes.logit_rows, kLogitRows) * config_.vocab);
  if (vec) {
    carver.take(a.attended_f32, rows * q_width);
    carver.take(a.h_f32, pairs * config_.ffn);
  } else {
    carver.take(a.normed, std::max(rows, kLogitRows) * hidden);
    carver.take(a.attended, rows * q_width);
    carver.take(a.h, pairs * config_.ffn);
    carver.take(a.y, pairs * hidden);
    carver.take(a.q_half, rows * q_width);
    carver.take(a.keys, sizes.key_blocks * kKvBlock * kv_width);
    carver.take(a.sort_scratch, cuda::sort_scratch_ints(u32(rows), u32(used), u32(experts)));
    carver.take(a.pairs.offsets, experts + 1);
    carver.take(a.pairs.row_of_pair, pairs);
    carver.take(a.pairs.pair_of_choice, pairs);
    carver.take(a.pairs.tickets, cuda::kTickets);
    a.pairs.pairs = u32(pairs);
  }
  bytes = carver.used();
  return a;
}

std::uint32_t CudaTransformer::splits(std::size_t rows) const noexcept {
  // Two thread blocks for each multiprocessor; a block takes two KV heads (attention_vec.cu).
  const std::size_t blocks = 2 * static_cast<std::size_t>(cuda::device_properties().multiProcessorCount);
  return std::clamp<std::uint32_t>(u32(blocks / ((config_.kv_heads + 1) / 2 * std::max<std::size_t>(rows, 1))), 1, kMaxSplits);
}

void CudaTransformer::wait(const char* what) const { cuda::check(cudaStreamSynchronize(stream_), what); }

const float* CudaTransformer::to_host(const float* device, std::size_t count) {
  if (host_.bytes() < count * sizeof(float)) host_ = cuda::PinnedBuffer(count * sizeof(float) * 3 / 2);
  cuda::check(cudaMemcpyAsync(host_.as<float>(), device, count * sizeof(float), cudaMemcpyDeviceToHost, stream_),
              "download of a step's states");
  wait("a step");
  return host_.as<float>();
}

std::span<const float> CudaTransformer::forward(const StepRows& step, StepObserver& observer) {
  try {
    return step.size() > cuda::kVecRows || deterministic_ ? matrix_forward(step, observer) : vec_pass(step, observer);
  } catch (...) {
    cudaStreamSynchronize(stream_);  // what was queued still reads the step's memory, which the next step fills
    throw;
  }
}

std::span<const float> CudaTransformer::vec_pass(const StepRows& step, StepObserver& observer) {
  const std::span<const float> logits(vec_logits_.as<float>(), step.logit_rows.size() * config_.vocab);
  if (!looks_inside(observer) && replay(step)) return logits;
  vec_step_.fill(step);
  vec_step_.upload(stream_);
  vec_forward(step, &observer);
  if (!step.logit_rows.empty()) queue_vec_logits(vec_step_.logit_rows(), step.logit_rows.size());
  wait("a step");
  return logits;
}

void CudaTransformer::queue_vec_logits(const std::int32_t* rows, std::size_t count) {
  cuda::vec_linear(stream_, weights_.output(), vec_.x, rows, weights_.output_norm(), config_.rms_norm_eps, u32(count), vec_.logits, false);
  cuda::check(cudaMemcpyAsync(vec_logits_.as<float>(), vec_.logits, count * config_.vocab * sizeof(float), cudaMemcpyDeviceToHost, stream_),
              "download of logits");
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
    if (observer.wants_hidden(layer) || observer.wants_normed(layer) || observer.wants_router(layer) || observer.wants_kv(layer))
      return true;
  }
  return false;
}

// A step of decoding: every row ends in logits and nobody looks inside. False if this is no such step.
bool CudaTransformer::replay(const StepRows& step) {
  const std::size_t rows = step.size();
  const bool whole = std::all_of(step.sequences.begin(), step.sequences.end(),
                                 [&](const StepSequence& s) { return s.depth == config_.layers && s.rows == 1 && !s.probe; });
  if (!capture_works_ || !whole || spans_.pending() || step.logit_rows.size() != rows) return false;
  vec_step_.fill(step);
  const bool grouped = vec_step_.grouped();
  cudaGraphExec_t& graph = graphs_[rows][grouped ? 1 : 0];
  if (graph == nullptr) capture(rows, grouped, step);
  if (graph == nullptr) return false;
  cuda::check(cudaGraphLaunch(graph, stream_), "launch of a decode step");
  wait("a decode step");
  return true;
}

void CudaTransformer::capture(std::size_t rows, bool grouped, const StepRows& step) {
  // Kernels are loaded by their first launch, which a capture does not allow.
  vec_step_.upload(stream_);
  vec_forward(step, nullptr);
  queue_vec_logits(nullptr, rows);
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
    queue_vec_logits(nullptr, rows);
  } catch (...) {
    cudaStreamEndCapture(stream_, &graph);
    if (graph != nullptr) cudaGraphDestroy(graph);
    throw;
  }
  cuda::check(cudaStreamEndCapture(stream_, &graph), "capture of a decode step");
  const cudaError_t status = cudaGraphInstantiate(&graphs_[rows][grouped ? 1 : 0], graph, 0);
  cudaGraphDestroy(graph);
  cuda::check(status, "capture of a decode step");
}

void CudaTransformer::observe_hidden(std::size_t layers, std::size_t rows, StepObserver* observer, const Activations& a) {
  if (observer == nullptr) return;
  if (observer->wants_hidden(layers)) observer->on_hidden(layers, to_host(a.x, rows * config_.hidden), rows);
  if (observer->wants_normed(layers)) {
    cuda::rms_norm(stream_, a.x, nullptr, u32(rows), u32(config_.hidden), weights_.output_norm(), config_.rms_norm_eps, nullptr,
                   cuda::HalfType::kBF16, a.normed_f32);
    observer->on_normed(layers, to_host(a.normed_f32, rows * config_.hidden), rows);
  }
}

void CudaTransformer::qkv_store(std::size_t layer, std::size_t projected, StepObserver* observer, const CudaStep& s, const Activations& a,
                                float* q, __half* q_half) {
  const CudaLayer& w = weights_.layers()[layer];
  const bool probe = observer != nullptr && observer->wants_kv(layer);
  cuda::QkvArguments arguments;
  arguments.qkv = a.qkv;
  arguments.q_norm = w.q_norm;
  arguments.k_norm = w.k_norm;
  arguments.eps = config_.rms_norm_eps;
  arguments.clip = config_.clip_qkv;
  arguments.interleaved = config_.rope_style == RopeStyle::kInterleaved;
  arguments.heads = u32(config_.heads);
  arguments.rope = rope_;
  arguments.q = q;
  arguments.q_half = q_half;
  arguments.probe = probe ? a.probe : nullptr;
  cuda::qkv_norm_rope_store(stream_, arguments, s.view(), u32(projected), kv_, u32(layer));
  if (!probe) return;
  const std::size_t kv_width = config_.kv_width();
  const float* states = to_host(a.probe, projected * 2 * kv_width);
  observer->on_kv(layer, states, states + kv_width, 2 * kv_width, projected);
}

cuda::AttentionArguments CudaTransformer::attention_arguments(std::size_t layer, const Activations& a, bool grouped) const {
  cuda::AttentionArguments arguments;
  arguments.q = a.q;
  arguments.q_half = a.q_half;
  arguments.heads = u32(config_.heads);
  arguments.layer = u32(layer);
  arguments.grouped = grouped;
  arguments.rope = rope_;
  return arguments;
}

void CudaTransformer::vec_layer(std::size_t layer, std::size_t projected, std::size_t rows, StepObserver* observer) {
  const CudaStep& s = vec_step_;
  const Activations& a = vec_;
  const CudaLayer& w = weights_.layers()[layer];
  const float eps = config_.rms_norm_eps;
  cuda::vec_linear(stream_, w.qkv, a.x, nullptr, w.attention_norm, eps, u32(projected), a.qkv, false);
  qkv_store(layer, projected, observer, s, a, a.q, nullptr);
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

void CudaTransformer::dense(const cuda::DeviceMatrix& w, const cuda::half_bits* x, std::size_t rows, float* y, bool add) {
  if (w.format == cuda::WeightFormat::kBF16 && !deterministic_) return blas_.linear(w, x, u32(rows), y, add);
  cuda::gemm(stream_, w, x, u32(rows), y, add, deterministic_);
}

std::span<const float> CudaTransformer::matrix_forward(const StepRows& step, StepObserver& observer) {
  matrix_step_.fill(step);
  const Sizes sizes{step.size(), matrix_step_.vec_rows(step.size()), matrix_step_.key_blocks(step.size()), step.logit_rows.size()};
  std::size_t bytes = 0;
  carve(sizes, false, nullptr, bytes);
  if (matrix_memory_.bytes() < bytes) {
    matrix_memory_ = cuda::DeviceBuffer();  // first, so that both never exist at once
    matrix_memory_ = cuda::DeviceBuffer(bytes);
  }
  const Activations a = carve(sizes, false, matrix_memory_.as<std::uint8_t>(), bytes);
  matrix_step_.upload(stream_);
  const bool loading = spans_.pending();
  if (loading) spans_.begin();
  cuda::embed_rows(stream_, weights_.embedding(), matrix_step_.view().token, u32(step.size()), a.x);
  observe_hidden(0, step.size(), &observer, a);
  for (std::size_t layer = 0; layer < config_.layers; ++layer) {
    if (loading) spans_.advance(layer, stream_);
    if (step.projected(layer) > 0) matrix_layer(step, layer, observer, a);
  }
  if (loading) spans_.end();
  const std::span<const float> logits = matrix_logits(step, a);
  wait("a step");
  return logits;
}

void CudaTransformer::matrix_layer(const StepRows& step, std::size_t layer, StepObserver& observer, const Activations& a) {
  const CudaLayer& w = weights_.layers()[layer];
  const CudaStep& s = matrix_step_;
  const std::size_t projected = step.projected(layer), rows = step.active(layer);
  // Experts: the layer before left its rows normed.
  if (layer == 0 || config_.experts == 0) {
    cuda::rms_norm(stream_, a.x, nullptr, u32(projected), u32(config_.hidden), w.attention_norm, config_.rms_norm_eps, a.normed,
                   half_type(w.qkv.format), nullptr);
  }
  dense(w.qkv, a.normed, projected, a.qkv, false);
  const std::size_t vec_rows = s.vec_rows(rows), tiles = s.tiles(rows);
  qkv_store(layer, projected, &observer, s, a, vec_rows > 0 ? a.q : nullptr, tiles > 0 ? a.q_half : nullptr);
  if (rows == 0) return;
  cuda::AttentionArguments arguments = attention_arguments(layer, a, s.grouped());
  arguments.out_half = a.attended;
  arguments.half_type = half_type(w.attention_output.format);
  if (vec_rows > 0) {
    cuda::attention_vec(stream_, arguments, s.view(), s.vec_list(), u32(vec_rows), splits(vec_rows), kv_, a.attention_workspace);
  }
  if (tiles > 0) {
    cuda::rotate_keys(stream_, s.key_list(), u32(s.key_blocks(rows)), s.view(), kv_, u32(layer), rope_, a.keys);
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

std::span<const float> CudaTransformer::matrix_logits(const StepRows& step, const Activations& a) {
  const std::size_t vocab = config_.vocab, total = step.logit_rows.size();
  many_logits_.clear();
  for (std::size_t first = 0; first < total; first += kLogitRows) {
    const std::size_t rows = std::min(kLogitRows, total - first);
    cuda::rms_norm(stream_, a.x, matrix_step_.logit_rows() + first, u32(rows), u32(config_.hidden), weights_.output_norm(),
                   config_.rms_norm_eps, a.normed, half_type(weights_.output().format), nullptr);
    dense(weights_.output(), a.normed, rows, a.logits, false);
    const float* const chunk = to_host(a.logits, rows * vocab);
    if (total <= kLogitRows) return {chunk, rows * vocab};
    many_logits_.insert(many_logits_.end(), chunk, chunk + rows * vocab);
  }
  return many_logits_;
}

}  // namespace gritstone
