#include "model/step_collector.h"

#include <algorithm>

namespace gritstone {

template <typename Wanted>
bool StepCollector::any(const Wanted& wanted) const {
  return std::any_of(slices_.begin(), slices_.end(), [&](const Slice& slice) { return wanted(slice.job->job.wants); });
}

bool StepCollector::gives_way() {
  abandoned_ = abandoned_ || (gives_way_ != nullptr && *gives_way_);
  return abandoned_;
}

bool StepCollector::wants_hidden(std::size_t layers) const {
  return any([&](const Wants& wants) { return std::count(wants.hidden_after.begin(), wants.hidden_after.end(), layers) > 0; });
}
bool StepCollector::wants_normed(std::size_t layers) const {
  return any([&](const Wants& wants) { return wants.normed_after == layers; });
}
bool StepCollector::wants_router(std::size_t) const {
  return any([](const Wants& wants) { return wants.router; });
}
bool StepCollector::wants_kv(std::size_t layer) const {
  return any([&](const Wants& wants) { return wants.kv_probe == layer; });
}

void StepCollector::on_hidden(std::size_t layers, const float* x, std::size_t rows) {
  for (const Slice& slice : slices_) {
    if (slice.row_begin >= rows) break;
    ActiveJob& job = *slice.job;
    const float* from = x + slice.row_begin * config_.hidden;
    const std::size_t at = job.done * config_.hidden, size = slice.count * config_.hidden;
    for (std::size_t i = 0; i < job.job.wants.hidden_after.size(); ++i) {
      if (job.job.wants.hidden_after[i] == layers)
        std::copy(from, from + size, job.output.hidden[i].begin() + static_cast<std::ptrdiff_t>(at));
    }
  }
}

void StepCollector::on_normed(std::size_t layers, const float* x, std::size_t rows) {
  for (const Slice& slice : slices_) {
    if (slice.row_begin >= rows) break;
    ActiveJob& job = *slice.job;
    if (job.job.wants.normed_after != layers) continue;
    std::copy_n(x + slice.row_begin * config_.hidden, slice.count * config_.hidden, job.output.normed.data() + job.done * config_.hidden);
  }
}

void StepCollector::on_kv(std::size_t layer, const float* k, const float* v, std::size_t stride, std::size_t rows) {
  const std::size_t width = config_.kv_width();
  for (const Slice& slice : slices_) {
    if (slice.row_begin >= rows) break;
    ActiveJob& job = *slice.job;
    if (job.job.wants.kv_probe != layer) continue;
    for (std::size_t i = 0; i < slice.count; ++i) {
      float* to = job.output.probe.data() + (job.done + i) * 2 * width;
      std::copy_n(k + (slice.row_begin + i) * stride, width, to);
      std::copy_n(v + (slice.row_begin + i) * stride, width, to + width);
    }
  }
}

void StepCollector::on_router(std::size_t layer, const float* probabilities, std::size_t rows) {
  for (const Slice& slice : slices_) {
    if (slice.row_begin >= rows) break;
    ActiveJob& job = *slice.job;
    if (layer >= job.output.router.size()) continue;
    const float* from = probabilities + slice.row_begin * config_.experts;
    std::copy(from, from + slice.count * config_.experts,
              job.output.router[layer].begin() + static_cast<std::ptrdiff_t>(job.done * config_.experts));
  }
}

}  // namespace gritstone
