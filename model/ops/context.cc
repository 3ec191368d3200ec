#include "model/ops/context.h"

#include <algorithm>

namespace gritstone {

OpContext::OpContext(const KernelTable& kernels, ThreadPool& pool, std::size_t attention_scratch_floats)
    : kernels_(kernels),
      pool_(pool),
      scratch_floats_((std::max(kMatmulScratch, attention_scratch_floats) + 15) / 16 * 16),
      scratch_(pool.threads() * scratch_floats_ * sizeof(float)) {}

float* Workspace::floats(std::size_t count) {
  // Half as much again, so that a prompt that grows by a token does not reallocate at every step.
  if (buffer_.size() < count * sizeof(float)) buffer_ = Buffer(count * sizeof(float) * 3 / 2);
  return buffer_.floats();
}

const Activations& QuantizedRows::set(OpContext& context, const float* x, std::size_t rows, std::size_t cols, bool quantize) {
  activations_ = Activations{};
  activations_.rows = rows;
  activations_.cols = cols;
  activations_.x = x;
  if (!quantize) return activations_;
  activations_.q = reinterpret_cast<std::int8_t*>(q_.floats((rows * cols + 3) / 4));
  activations_.scale = scale_.floats(rows * (cols / kActivationGroup));
  activations_.sum = reinterpret_cast<std::int32_t*>(sum_.floats(rows * (cols / (kActivationGroup / 2))));
  // A few rows a task: a row of 2048 takes about a microsecond, as long as handing out the task.
  constexpr std::size_t kRowsPerTask = 8;
  context.pool().parallel_for((rows + kRowsPerTask - 1) / kRowsPerTask, [&](std::size_t task, std::size_t) {
    context.matmul().quantize_rows(activations_, task * kRowsPerTask, std::min(rows, (task + 1) * kRowsPerTask));
  });
  return activations_;
}

}  // namespace gritstone
