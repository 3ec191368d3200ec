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

void StepCollector::deal_out(const StepLogits& logits) const {
  const std::size_t vocab = config_.vocab;
  std::span<const float> whole = logits.whole;
  std::span<const TopLogit> tops = logits.tops;
  const auto next = [](auto& from, std::size_t count) {
    const auto row = from.first(count);
    from = from.subspan(count);
    return row;
  };
  for (const Slice& slice : slices_) {
    JobOutput& output = slice.job->output;
    const std::size_t rows = slice.job->logit_rows(slice.count).size(), wanted = slice.job->job.wants.top_logits;
    if (wanted == 0) {
      const std::span<const float> values = next(whole, rows * vocab);
      output.logits.insert(output.logits.end(), values.begin(), values.end());
      next(tops, rows * logits.top_stride);
      continue;
    }
    for (std::size_t row = 0; row < rows; ++row) {
      if (logits.top_stride == 0) {
        output.top.resize(output.top.size() + wanted);
        top_logits(next(whole, vocab), std::span(output.top).last(wanted));
      } else {
        const std::span<const TopLogit> best = next(tops, logits.top_stride).first(wanted);
        output.top.insert(output.top.end(), best.begin(), best.end());
      }
    }
  }
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
