// What computes: one device with the model's weights and the KV memory on it. The engine above it knows jobs, a backend knows steps.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "base/kv_span.h"
#include "model/engine.h"
#include "model/kernels/top_logits.h"
#include "model/kv_pages.h"
#include "model/ops/pool.h"
#include "model/ops/step.h"

namespace gritstone {

// What a step's caller wants to see of it while it runs. Asked first, so that a device copies nothing in vain; pointers are valid during
// the call only.
class StepObserver {
 public:
  virtual ~StepObserver() = default;
  virtual bool wants_hidden(std::size_t layers) const = 0;
  virtual bool wants_normed(std::size_t layers) const = 0;
  // Rows whose normed states after `layers` layers the backend adds to their sums; nothing is called back. At most one stretch for each of
  // the step's sequences.
  virtual std::span<const PoolRows> pools(std::size_t layers) const = 0;
  virtual bool wants_router(std::size_t layer) const = 0;
  virtual bool wants_kv(std::size_t layer) const = 0;
  // x [rows, hidden] after `layers` layers (0: the embeddings), as it is or after the final norm; rows are those that computed them.
  virtual void on_hidden(std::size_t layers, const float* x, std::size_t rows) = 0;
  virtual void on_normed(std::size_t layers, const float* x, std::size_t rows) = 0;
  // Router probabilities [rows, experts] of layer `layer`.
  virtual void on_router(std::size_t layer, const float* probabilities, std::size_t rows) = 0;
  // K (after its norm, before RoPE) and V of layer `layer`, [rows, kv_width] each, rows `stride` floats apart.
  virtual void on_kv(std::size_t layer, const float* k, const float* v, std::size_t stride, std::size_t rows) = 0;
  // Whether somebody looks at what the last layer leaves. If not, only the rows whose logits are wanted need all of it.
  bool wants_last_layer(std::size_t layers) const {
    return wants_hidden(layers) || wants_normed(layers) || !pools(layers).empty() || wants_router(layers - 1);
  }
  // Asked before every layer by backends whose steps take long: true abandons the step, as if it had never begun.
  virtual bool gives_way() = 0;
};

// What a step's rows came to; valid until the next step.
struct StepLogits {
  // [rows, vocab]: those of StepRows::logit_rows that want the whole row, in their order; all of them from a backend that makes no tops.
  std::span<const float> whole;
  // [logit_rows.size(), top_stride], top_stride at least the most that any row wants, as top_logits() gives them; undefined for the rows
  // that want the whole. top_stride 0: this backend makes no tops (or no row wanted one).
  std::span<const TopLogit> tops;
  std::size_t top_stride = 0;
};

// Not thread-safe: the engine's thread owns it. Everything may throw Error(kDevice), or kMemoryBudget where the device has no room for a
// step of this size; then nothing was loaded or lost, and a smaller step may work.
class Backend {
 public:
  virtual ~Backend() = default;

  virtual std::string name() const = 0;  // "cpu-avx2", "cuda-sm90": part of the numerics id
  // Bumped whenever a change alters the bits that a backend's kernels produce, so that cached states of older versions are not mixed in.
  virtual int numerics_version() const = 0;
  virtual std::size_t threads() const noexcept = 0;

  // Puts every segment into its slots, at the latest while the next forward runs; the spans are kept alive as long as they are needed.
  virtual void load(const KvSequence& sequence, std::span<const Segment> segments) = 0;
  // The sequence ends: nothing may be loaded into its pages any more.
  virtual void release(const KvSequence& sequence) noexcept = 0;
  // The states of `count` slots from `slot` as a new span of `type`.
  virtual KvSpan save(const KvSequence& sequence, std::size_t slot, std::size_t count, KvType type) = 0;
  // Seconds of the last forward that went into loading, where load itself only takes note.
  virtual double load_seconds() const noexcept = 0;
  // Computes the step's rows, writing K and V into their slots. Returns nothing if the observer abandoned the step.
  virtual StepLogits forward(const StepRows& step, StepObserver& observer) = 0;
};

// Throw what Engine::create throws.
std::unique_ptr<Backend> make_cpu_backend(const ModelFile& file, const EngineOptions& options);
// Throws Error(kInvalidArgument) in a build without CUDA, kDevice if no usable device is there.
std::unique_ptr<Backend> make_cuda_backend(const ModelFile& file, const EngineOptions& options);

}  // namespace gritstone
