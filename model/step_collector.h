// What the jobs of a running step want of it.
#pragma once

#include <atomic>
#include <span>
#include <vector>

#include "model/active_job.h"
#include "model/backend.h"

namespace gritstone {

// A job's share of one step.
struct Slice {
  ActiveJob* job;
  std::size_t count;
  std::size_t row_begin = 0;
};

// Copies what jobs want out of a running step.
class StepCollector final : public StepObserver {
 public:
  // Borrows all three. gives_way: when it becomes true the step is abandoned; null: never.
  StepCollector(const ModelConfig& config, const std::vector<Slice>& slices, const std::atomic<bool>* gives_way);

  bool abandoned() const noexcept { return abandoned_; }

  // After the finished step: its sums become its jobs', and its logits are appended to their outputs, tops made here where the backend made
  // none.
  void deal_out(const StepLogits& logits);

  bool wants_hidden(std::size_t layers) const override;
  bool wants_normed(std::size_t layers) const override;
  std::span<const PoolRows> pools(std::size_t layers) const override;
  bool wants_router(std::size_t layer) const override;
  bool wants_kv(std::size_t layer) const override;
  void on_hidden(std::size_t layers, const float* x, std::size_t rows) override;
  void on_normed(std::size_t layers, const float* x, std::size_t rows) override;
  void on_router(std::size_t layer, const float* probabilities, std::size_t rows) override;
  void on_kv(std::size_t layer, const float* k, const float* v, std::size_t stride, std::size_t rows) override;
  bool gives_way() override;

 private:
  template <typename Wanted>
  bool any(const Wanted& wanted) const;
  void deal_out_sums();

  const ModelConfig& config_;
  const std::vector<Slice>& slices_;
  const std::atomic<bool>* gives_way_;
  bool abandoned_ = false;
  std::vector<std::vector<double>> sums_;     // [slices]: of those that pool, as they will be
  std::vector<std::vector<PoolRows>> pools_;  // [layers + 1]
};

}  // namespace gritstone
