// The CPU's backend: SIMD kernels on a thread pool.
#include "base/thread_pool.h"
#include "model/backend.h"
#include "model/kernels/kernel_table.h"
#include "model/kv_pool.h"
#include "model/span_transfer.h"
#include "model/transformer.h"
#include "model/weights.h"

namespace gritstone {
namespace {

class CpuBackend : public Backend {
 public:
  CpuBackend(const ModelFile& file, const EngineOptions& options)
      : config_(file.config()),
        kernels_(select_kernels(options.simd)),
        threads_(options.threads),
        weights_(file, options.compute, threads_),
        pool_(config_, options.kv_type, (options.kv_slots + kKvBlock - 1) / kKvBlock),
        transfer_{*kernels_.vector, threads_, pool_, KvShape{config_.layers, config_.kv_heads, config_.head_dim}},
        transformer_(config_, weights_, kernels_, threads_) {}

  int numerics_version() const override { return 1; }
  std::string name() const override { return "cpu-" + std::string(kernels_.isa); }
  std::size_t threads() const noexcept override { return threads_.threads(); }
  void load(const KvSequence& sequence, std::span<const Segment> segments) override { transfer_.load(sequence, segments); }
  void release(const KvSequence&) noexcept override {}
  double load_seconds() const noexcept override { return 0; }
  KvSpan save(const KvSequence& sequence, std::size_t slot, std::size_t count, KvType type) override {
    return transfer_.save(sequence, slot, count, type);
  }
  StepLogits forward(const StepRows& step, StepObserver& observer) override {
    if (!transformer_.forward(step, pool_, observer)) return {};
    logits_.resize(step.logit_rows.size() * config_.vocab);
    if (!logits_.empty()) transformer_.logits(logits_.data());
    return {logits_, {}, 0};
  }

 private:
  const ModelConfig config_;
  const KernelTable kernels_;
  ThreadPool threads_;
  Weights weights_;
  KvPool pool_;
  const SpanTransfer transfer_;
  Transformer transformer_;
  std::vector<float> logits_;
};

}  // namespace

std::unique_ptr<Backend> make_cpu_backend(const ModelFile& file, const EngineOptions& options) {
  return std::make_unique<CpuBackend>(file, options);
}

}  // namespace gritstone
