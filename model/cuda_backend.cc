// The backend for one NVIDIA GPU: weights, KV pages and spans in its memory, one stream for compute and one for spans.
#include <algorithm>
#include <cstdio>

#include "base/thread_pool.h"
#include "model/backend.h"
#include "model/cuda_devices.h"
#include "model/cuda_spans.h"
#include "model/cuda_transformer.h"
#include "model/cuda_weights.h"

namespace gritstone {
namespace {

// bf16 products on tensor cores and cp.async came with Ampere.
constexpr int kMinMajor = 8;

CudaDevice use_device() {
  const CudaDevices found = cuda_devices();
  if (found.devices.empty()) {
    throw Error(ErrorCode::kDevice, "no CUDA device" + (found.problem.empty() ? std::string() : ": " + found.problem));
  }
  const CudaDevice& device = found.devices.front();
  if (device.major < kMinMajor) {
    throw Error(ErrorCode::kDevice, device.name + " has compute capability " + std::to_string(device.major) + "." +
                                        std::to_string(device.minor) + "; the CUDA backend needs 8.0 or newer");
  }
  cuda::check(cudaSetDevice(0), "choice of the device");
  return device;
}

std::string gib(std::size_t bytes) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.2f GiB", static_cast<double>(bytes) / (1 << 30));
  return text;
}

// What goes where in device memory, decided before anything is allocated.
struct Budget {
  std::size_t weights = 0, kv = 0, spans = 0, workspace = 0;

  std::size_t total() const noexcept { return weights + kv + spans + workspace; }
  std::string table(const CudaDevice& device) const {
    return "weights " + gib(weights) + " + KV pages " + gib(kv) + " + spans " + gib(spans) + " + workspace " + gib(workspace) + " = " +
           gib(total()) + "; " + device.name + " has " + gib(device.free_memory) + " free of " + gib(device.memory);
  }
};

std::size_t kv_pages(const EngineOptions& options) { return cuda::ceil_div(options.kv_slots, kKvBlock); }

std::size_t page_bytes(const ModelConfig& config) { return config.layers * 2 * config.kv_width() * kKvBlock * sizeof(cuda::bf16); }

// Of a full step: the widest activations of its rows (cuda_transformer.cc carves them), and cuBLAS.
std::size_t workspace_bytes(const ModelConfig& config, const EngineOptions& options) {
  const std::size_t used = std::max<std::size_t>(config.experts_used, 1);
  const std::size_t row = 4 * (3 * config.hidden + 4 * config.q_width() + 4 * config.kv_width()) + 2 * (config.hidden + config.q_width()) +
                          2 * used * (config.ffn + config.hidden);
  return options.max_batch_tokens * row + (std::size_t{256} << 20);
}

Budget plan_memory(const ModelFile& file, const EngineOptions& options, const CudaDevice& device) {
  Budget budget;
  budget.weights = CudaWeights::device_bytes(file);
  budget.kv = kv_pages(options) * page_bytes(file.config());
  budget.workspace = workspace_bytes(file.config(), options);
  budget.spans = options.device_span_bytes;
  if (budget.total() > device.free_memory) {
    // Spans are a convenience; they take what is left.
    const std::size_t fixed = budget.total() - budget.spans;
    budget.spans = fixed < device.free_memory ? device.free_memory - fixed : 0;
  }
  if (budget.total() > device.free_memory) {
    throw Error(ErrorCode::kMemoryBudget, "the model does not fit: " + budget.table(device) +
                                              ". Fewer KV slots, a smaller batch or a smaller weight type (model quantize) may help");
  }
  return budget;
}

const EngineOptions& checked(const EngineOptions& options) {
  if (options.compute == ComputeMode::kF32) throw Error(ErrorCode::kInvalidArgument, "f32 compute is for the CPU; on CUDA it is bf16");
  if (options.kv_type != KvType::kBF16) {
    throw Error(ErrorCode::kInvalidArgument, "the live KV type on CUDA is bf16, not " + std::string(kv_type_name(options.kv_type)));
  }
  return options;
}

class StreamOwner {
 public:
  StreamOwner() { cuda::check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "creation of a stream"); }
  ~StreamOwner() { cudaStreamDestroy(stream_); }
  StreamOwner(const StreamOwner&) = delete;
  StreamOwner& operator=(const StreamOwner&) = delete;
  cuda::Stream get() const noexcept { return stream_; }

 private:
  cuda::Stream stream_ = nullptr;
};

class CudaBackend : public Backend {
 public:
  CudaBackend(const ModelFile& file, const EngineOptions& options)
      : config_(file.config()),
        device_(use_device()),
        budget_(plan_memory(file, checked(options), device_)),
        deterministic_(options.deterministic),
        threads_(options.threads),
        weights_(file, threads_),
        kv_memory_(kv_pages(options) * page_bytes(config_)),
        kv_slots_(2 * kv_pages(options) * kKvBlock * sizeof(std::int32_t)),
        spans_(KvShape{config_.layers, config_.kv_heads, config_.head_dim}, kv_view(), threads_, budget_.spans),
        transformer_(config_, weights_, kv_view(), spans_, stream_.get(), deterministic_) {}

  int numerics_version() const override { return 4; }  // 4: other order of sums in the norms of q and k
  std::string name() const override {
    return "cuda-sm" + std::to_string(device_.major) + std::to_string(device_.minor) + (deterministic_ ? "-deterministic" : "");
  }
  std::size_t threads() const noexcept override { return threads_.threads(); }
  void load(const KvSequence& sequence, std::span<const Segment> segments) override { spans_.add(sequence, segments); }
  void release(const KvSequence& sequence) noexcept override { spans_.cancel(sequence); }
  double load_seconds() const noexcept override { return spans_.seconds(); }
  KvSpan save(const KvSequence& sequence, std::size_t slot, std::size_t count, KvType type) override {
    return spans_.save(sequence, slot, count, type, stream_.get());
  }
  StepLogits forward(const StepRows& step, StepObserver& observer) override {
    spans_.reset_seconds();
    return transformer_.forward(step, observer);
  }

 private:
  cuda::KvView kv_view() const {
    cuda::KvView view;
    view.memory = kv_memory_.as<cuda::bf16>();
    view.positions = kv_slots_.as<std::int32_t>();
    view.groups = view.positions + kv_slots_.bytes() / (2 * sizeof(std::int32_t));
    view.layers = static_cast<std::uint32_t>(config_.layers);
    view.kv_heads = static_cast<std::uint32_t>(config_.kv_heads);
    view.head_dim = static_cast<std::uint32_t>(config_.head_dim);
    return view;
  }

  const ModelConfig config_;
  const CudaDevice device_;
  const Budget budget_;
  const bool deterministic_;
  ThreadPool threads_;
  const StreamOwner stream_;
  const CudaWeights weights_;
  const cuda::DeviceBuffer kv_memory_, kv_slots_;
  CudaSpans spans_;
  CudaTransformer transformer_;
};

}  // namespace

std::unique_ptr<Backend> make_cuda_backend(const ModelFile& file, const EngineOptions& options) {
  return std::make_unique<CudaBackend>(file, options);
}

}  // namespace gritstone
