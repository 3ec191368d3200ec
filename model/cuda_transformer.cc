#include "model/cuda_transformer.h"

#include <algorithm>
#include <cstring>

#include "model/ops/attention.h"

namespace gritstone {
namespace {

constexpr std::size_t kAlign = 256;
constexpr std::uint32_t kMaxSplits = 32;

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
      last_step_(config, !deterministic, 0),
      vec_step_(config, true, cuda::kVecRows),
      vec_logits_(cuda::kVecRows * config.vocab * sizeof(float)),
      vec_tops_(cuda::kVecRows * kMaxTopLogits * sizeof(TopLogit)) {
  const RopeTable table(config);
  rope_memory_ = cuda::DeviceBuffer(2 * table.cos.size() * sizeof(float));
  float* const cos = rope_memory_.as<float>();
  float* const sin = cos + table.cos.size();
  cuda::check(cudaMemcpy(cos, table.cos.data(), table.cos.size() * sizeof(float), cudaMemcpyHostToDevice), "upload of the RoPE table");
  cuda::check(cudaMemcpy(sin, table.sin.data(), table.sin.size() * sizeof(float), cudaMemcpyHostToDevice), "upload of the RoPE table");
  rope_ = {cos, sin};
  const Sizes sizes{cuda::kVecRows, cuda::kVecRows, 0, cuda::kVecRows, 0, cuda::kVecRows, kMaxTopLogits};
  std::size_t bytes = 0;
  carve(sizes, true, nullptr, bytes);
  vec_memory_ = cuda::DeviceBuffer(bytes);
  vec_ = carve(sizes, true, vec_memory_.as<std::uint8_t>(), bytes);
}

CudaTransformer::~CudaTransformer() {
  cudaStreamSynchronize(stream_);
  for (const auto& by_rows : graphs_) {
    for (const auto& by_top : by_rows) {
      for (const cudaGraphExec_t graph : by_top) {
        if (graph != nullptr) cudaGraphExecDestroy(graph);
      }
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
  carver.take(a.pools, sizes.sequences);
  carver.take(a.pool_sums, sizes.sequences * hidden);
  const std::size_t logit_rows = std::min(sizes.logit_rows, kLogitRows);
  carver.take(a.logits, logit_rows * config_.vocab);
  if (sizes.top > 0) carver.take(a.top_workspace, cuda::top_logits_workspace(u32(logit_rows), u32(config_.vocab), u32(sizes.top)));
  if (vec) {
    carver.take(a.attended_f32, rows * q_width);
    carver.take(a.h_f32, pairs * config_.ffn);
  } else {
    carver.take(a.normed, std::max(rows, kLogitRows) * hidden);
    carver.take(a.attended, rows * q_width);
    carver.take(a.h, pairs * config_.ffn);
    carver.take(a.y, pairs * hidden);
    carver.take(a.q_half, rows * q_width);
    carver.take(a.last_x, sizes.last_rows * hidden);
    carver.take(a.last_q, sizes.last_rows * q_width);
    carver.take(a.last_q_half, sizes.last_rows * q_width);
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

void CudaTransformer::reserve_host(std::size_t count) {
  if (host_.bytes() < count * sizeof(float)) host_ = cuda::PinnedBuffer(count * sizeof(float) * 3 / 2);
}

std::size_t CudaTransformer::top_variant(const StepRows& step) {
  const auto most = std::max_element(step.logit_tops.begin(), step.logit_tops.end());
  const std::size_t wanted = most != step.logit_tops.end() ? *most : 0;
  return static_cast<std::size_t>(std::lower_bound(kTopSizes.begin(), kTopSizes.end(), wanted) - kTopSizes.begin());
}

std::size_t CudaTransformer::queue_whole_rows(std::span<const std::size_t> tops, const float* logits, float* host) {
  std::size_t copied = 0;
  for (std::size_t row = 0; row < tops.size();) {
    std::size_t rows = 0;  // one copy for neighbours
    while (row + rows < tops.size() && tops[row + rows] == 0) ++rows;
    if (rows > 0) {
      cuda::check(cudaMemcpyAsync(host + copied * config_.vocab, logits + row * config_.vocab, rows * config_.vocab * sizeof(float),
                                  cudaMemcpyDeviceToHost, stream_),
                  "download of logits");
    }
    copied += rows;
    row += rows + 1;
  }
  return copied;
}

const float* CudaTransformer::to_host(const float* device, std::size_t count) {
  reserve_host(count);
  cuda::check(cudaMemcpyAsync(host_.as<float>(), device, count * sizeof(float), cudaMemcpyDeviceToHost, stream_),
              "download of a step's states");
  wait("a step");
  return host_.as<float>();
}

StepLogits CudaTransformer::forward(const StepRows& step, StepObserver& observer) {
  try {
    return step.size() > cuda::kVecRows || deterministic_ ? matrix_forward(step, observer) : vec_pass(step, observer);
  } catch (...) {
    cudaStreamSynchronize(stream_);  // what was queued still reads the step's memory, which the next step fills
    throw;
  }
}

void CudaTransformer::observe_hidden(std::size_t layers, std::size_t rows, StepObserver* observer, const Activations& a) {
  if (observer == nullptr) return;
  if (observer->wants_hidden(layers)) observer->on_hidden(layers, to_host(a.x, rows * config_.hidden), rows);
  const bool whole = observer->wants_normed(layers);
  const std::span<const PoolRows> pools = observer->pools(layers);
  if (!whole && pools.empty()) return;
  cuda::rms_norm(stream_, a.x, nullptr, u32(rows), u32(config_.hidden), weights_.output_norm(), config_.rms_norm_eps, nullptr,
                 cuda::HalfType::kBF16, a.normed_f32);
  if (whole) observer->on_normed(layers, to_host(a.normed_f32, rows * config_.hidden), rows);
  if (!pools.empty()) add_pools(pools, a);
}

void CudaTransformer::add_pools(std::span<const PoolRows> pools, const Activations& a) {
  const std::size_t hidden = config_.hidden, range_bytes = pools.size() * sizeof(cuda::PoolRange);
  const std::size_t sum_bytes = pools.size() * hidden * sizeof(double);
  reserve_host((range_bytes + sum_bytes) / sizeof(float));
  auto* const ranges = host_.as<cuda::PoolRange>();
  double* const sums = reinterpret_cast<double*>(ranges + pools.size());
  for (std::size_t i = 0; i < pools.size(); ++i) {
    ranges[i] = {u32(pools[i].row), u32(pools[i].rows), pools[i].first_weight, pools[i].weight_step};
    std::copy_n(pools[i].sums, hidden, sums + i * hidden);
  }
  cuda::check(cudaMemcpyAsync(a.pools, ranges, range_bytes, cudaMemcpyHostToDevice, stream_), "upload of sums");
  cuda::check(cudaMemcpyAsync(a.pool_sums, sums, sum_bytes, cudaMemcpyHostToDevice, stream_), "upload of sums");
  cuda::pool_rows(stream_, a.normed_f32, u32(hidden), a.pools, u32(pools.size()), a.pool_sums);
  cuda::check(cudaMemcpyAsync(sums, a.pool_sums, sum_bytes, cudaMemcpyDeviceToHost, stream_), "download of sums");
  wait("a step");
  for (std::size_t i = 0; i < pools.size(); ++i) std::copy_n(sums + i * hidden, hidden, pools[i].sums);
}

void CudaTransformer::qkv_store(std::size_t layer, std::size_t projected, StepObserver* observer, const CudaStep& s, const Activations& a,
                                cuda::QkvArguments arguments) {
  const CudaLayer& w = weights_.layers()[layer];
  const bool probe = observer != nullptr && observer->wants_kv(layer);
  arguments.q_norm = w.q_norm;
  arguments.k_norm = w.k_norm;
  arguments.eps = config_.rms_norm_eps;
  arguments.clip = config_.clip_qkv;
  arguments.interleaved = config_.rope_style == RopeStyle::kInterleaved;
  arguments.heads = u32(config_.heads);
  arguments.rope = rope_;
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

}  // namespace gritstone
