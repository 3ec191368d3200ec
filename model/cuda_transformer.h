// The forward pass on one GPU.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "model/backend.h"
#include "model/cuda_spans.h"
#include "model/cuda_step.h"
#include "model/cuda_weights.h"
#include "model/kernels/cuda/blas.h"
#include "model/kernels/cuda/device.h"
#include "model/kernels/cuda/ops.h"

namespace gritstone {

// Two ways through a layer: steps of at most kVecRows rows read every weight once at memory speed ("vec"), larger ones use the tensor
// cores. A decode step of the first kind that nobody looks into is captured as a CUDA graph and replayed. Where rows want their largest
// logits only, those are found on the device, and whole rows come to the host for the others alone. Not thread-safe. Borrows everything.
class CudaTransformer {
 public:
  CudaTransformer(const ModelConfig& config, const CudaWeights& weights, const cuda::KvView& kv, CudaSpans& spans, cuda::Stream stream,
                  bool deterministic);
  ~CudaTransformer();
  CudaTransformer(const CudaTransformer&) = delete;
  CudaTransformer& operator=(const CudaTransformer&) = delete;

  // As Backend::forward; returns when the step is done.
  StepLogits forward(const StepRows& step, StepObserver& observer);

 private:
  // Rows of logits in device memory at once: 50 MB for a vocabulary of 50,000.
  static constexpr std::size_t kLogitRows = 256;
  // How many of its largest logits are found for every row of a step that wants some: one of few sizes, since a captured step has its own.
  // Greedy; greedy or a top-k of 40 with a repetition penalty's window of 64; everything else.
  static constexpr std::array<std::size_t, 4> kTopSizes = {0, 16, 128, kMaxTopLogits};
  static std::uint32_t u32(std::size_t n) noexcept { return static_cast<std::uint32_t>(n); }

  // Activations of a step, carved out of one allocation.
  struct Activations {
    float *x = nullptr, *qkv = nullptr, *q = nullptr, *probe = nullptr, *normed_f32 = nullptr, *router = nullptr, *weights = nullptr;
    float *attended_f32 = nullptr, *h_f32 = nullptr, *attention_workspace = nullptr, *logits = nullptr;
    cuda::half_bits *normed = nullptr, *attended = nullptr, *h = nullptr, *y = nullptr;
    __half *q_half = nullptr, *keys = nullptr;
    // Of the rows that go on in the last layer.
    float *last_x = nullptr, *last_q = nullptr;
    __half* last_q_half = nullptr;
    std::int32_t *chosen = nullptr, *sort_scratch = nullptr;
    std::uint8_t* top_workspace = nullptr;
    cuda::PoolRange* pools = nullptr;
    double* pool_sums = nullptr;
    cuda::ExpertPairs pairs;
  };
  struct Sizes {
    std::size_t rows = 0, sequences = 0, last_rows = 0, vec_attention_rows = 0, key_blocks = 0, logit_rows = 0, top = 0;
  };

  Activations carve(const Sizes& sizes, bool vec, std::uint8_t* memory, std::size_t& bytes) const;
  // `arguments` says where qkv is and where q goes.
  void qkv_store(std::size_t layer, std::size_t projected, StepObserver* observer, const CudaStep& s, const Activations& a,
                 cuda::QkvArguments arguments);
  cuda::AttentionArguments attention_arguments(std::size_t layer, const Activations& a, bool grouped) const;
  void observe_hidden(std::size_t layers, std::size_t rows, StepObserver* observer, const Activations& a);
  void add_pools(std::span<const PoolRows> pools, const Activations& a);  // of a.normed_f32
  std::uint32_t splits(std::size_t rows) const noexcept;
  const float* to_host(const float* device, std::size_t count);
  void reserve_host(std::size_t count);                  // host_ then has room for so many floats
  static std::size_t top_variant(const StepRows& step);  // index into kTopSizes: the least that serves every row
  // Queues copies of the rows of logits that are wanted whole (tops[i] == 0); returns their number.
  std::size_t queue_whole_rows(std::span<const std::size_t> tops, const float* logits, float* host);
  void wait(const char* what) const;

  // cuda_transformer_vec.cc
  StepLogits vec_pass(const StepRows& step, StepObserver& observer);
  void vec_forward(const StepRows& step, StepObserver* observer);
  void vec_layer(std::size_t layer, std::size_t projected, std::size_t rows, StepObserver* observer);
  void queue_vec_logits(const std::int32_t* rows, std::size_t count, std::size_t top);  // null: the first `count`; top: of each
  bool looks_inside(const StepObserver& observer) const;
  bool replay(const StepRows& step);
  void capture(const StepRows& step, std::size_t top, cudaGraphExec_t& graph);

  // cuda_transformer_matrix.cc
  StepLogits matrix_forward(const StepRows& step, StepObserver& observer);
  // Up to K and V in their slots, and q as the rows that attend then want it.
  void project(const StepRows& step, const CudaStep& attending, std::size_t attending_rows, std::size_t layer, StepObserver& observer,
               const Activations& a);
  void keep_wanted(std::size_t rows, Activations& a);  // x and q of the rows that go on
  void attend_and_feed(const StepRows& step, const CudaStep& s, std::size_t layer, StepObserver& observer, const Activations& a);
  void feed_forward(const StepRows& step, std::size_t layer, StepObserver& observer, const Activations& a);
  void dense(const cuda::DeviceMatrix& w, const cuda::half_bits* x, std::size_t rows, float* y, bool add);
  StepLogits matrix_logits(const StepRows& step, const std::int32_t* logit_rows, const Activations& a);

  const ModelConfig& config_;
  const CudaWeights& weights_;
  const cuda::KvView kv_;
  CudaSpans& spans_;
  const cuda::Stream stream_;
  const bool deterministic_;
  cuda::Blas blas_;
  cuda::DeviceBuffer rope_memory_;
  cuda::RopeView rope_;

  CudaStep matrix_step_, last_step_;  // last_step_: the rows that go on in the last layer, if not all do
  cuda::DeviceBuffer matrix_memory_;
  CudaStep vec_step_;
  cuda::DeviceBuffer vec_memory_;
  Activations vec_;
  cuda::PinnedBuffer vec_logits_;  // [kVecRows, vocab]
  cuda::PinnedBuffer host_;        // what observers see, and logits of larger steps
  std::vector<float> many_logits_;
  cuda::PinnedBuffer vec_tops_;   // [kVecRows, kMaxTopLogits]; the device writes there itself
  cuda::PinnedBuffer many_tops_;  // of larger steps
  std::array<std::array<std::array<cudaGraphExec_t, kTopSizes.size()>, 2>, cuda::kVecRows + 1> graphs_{};  // by rows, grouped and top size
  bool capture_works_ = true;
};

}  // namespace gritstone
