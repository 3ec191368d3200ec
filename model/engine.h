// Runs jobs on one model: retrieval and generation both submit here; nothing else runs the model.
#pragma once

#include <cstddef>
#include <future>
#include <memory>
#include <string>

#include "model/job.h"
#include "model/model_config.h"
#include "model/model_file.h"

namespace gritstone {

enum class ComputeMode : std::uint8_t {
  kF32,   // weights as f32, f32 products: parity with Hugging Face within 1e-4
  kFast,  // integer or bf16 kernels
};

enum class Device : std::uint8_t { kCpu, kCuda };

struct EngineOptions {
  Device device = Device::kCpu;
  std::size_t threads = 0;  // 0: all cores this process may use
  ComputeMode compute = ComputeMode::kFast;
  KvType kv_type = KvType::kBF16;
  std::size_t kv_slots = 16384;        // token slots in the KV pool, over all jobs; memory is touched only as it is used
  std::size_t max_batch_tokens = 512;  // live tokens in one step; a bidirectional job may exceed it, since it cannot be split
  // Of bulk jobs in one step; 0: as all others. A service sets it: then bulk jobs get a quarter of it beside other jobs, half of the KV pool
  // stays free of them, and on the CPU a step of theirs alone is abandoned, and done again, when another job comes.
  std::size_t max_bulk_tokens = 0;
  std::string simd;  // "", "scalar", "avx2", "avx512": forces a kernel table
  // CUDA only. The device memory that keeps spans that were loaded before, so that their next use copies nothing over the bus.
  std::size_t device_span_bytes = std::size_t{1} << 30;
  bool deterministic = false;  // CUDA only, slower: results do not depend on the other jobs, as on the CPU
};

// Thread-safe. On the CPU results of a job do not depend on the other jobs, the number of threads or how its prefill was split: same bits.
// On CUDA that holds with `deterministic`; otherwise products of another shape round differently (docs/ARCHITECTURE.md).
class Engine {
 public:
  // Loads and repacks the weights of `file` (which must outlive the engine). Throws Error: kModelRejected; kMemoryBudget; kInvalidArgument.
  static std::unique_ptr<Engine> create(const ModelFile& file, const EngineOptions& options);
  virtual ~Engine() = default;  // cancels what is still running

  virtual const ModelConfig& config() const noexcept = 0;
  virtual const EngineOptions& options() const noexcept = 0;
  // Identifies the numerics: kernel version, ISA, compute mode, KV type. Part of cache keys and manifests.
  virtual const std::string& numerics_id() const noexcept = 0;
  virtual std::size_t threads() const noexcept = 0;

  // Queues the job; the future gets its last output. Errors in it: kInvalidArgument (token out of range, slots overlap or exceed the
  // model's context, empty), kCancelled, kDeadline, kMemoryBudget (more slots than the pool has), or what `next` threw.
  virtual std::future<JobOutput> submit(Job job) = 0;

  // submit and wait.
  JobOutput run(Job job) { return submit(std::move(job)).get(); }
};

}  // namespace gritstone
