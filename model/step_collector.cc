#include "model/step_collector.h"

#include <algorithm>

namespace gritstone {

template <typename Wanted>
bool StepCollector::any(const Wanted& wanted) const {
  return std::any_of(slices_.begin(), slices_.end(), [&](const Slice& slice) { return wanted(slice.job->job.wants); });
}

// The sums that a step adds to are the job's once it is finished: an abandoned step has changed nothing.
StepCollector::StepCollector(const ModelConfig& config, const std::vector<Slice>& slices, const std::atomic<bool>* gives_way)
    : config_(config), slices_(slices), gives_way_(gives_way), sums_(slices.size()), pools_(config.layers + 1) {
  for (std::size_t i = 0; i < slices.size(); ++i) {
    const ActiveJob& job = *slices[i].job;
    if (!job.job.wants.pool) continue;
    const Wants::Pool& wanted = *job.job.wants.pool;
    sums_[i] = job.pool_sums;
    const std::size_t begin = std::max(wanted.first, job.done), end = std::min(wanted.first + wanted.count, job.done + slices[i].count);
    if (begin >= end) continue;
    PoolRows pool;
    pool.row = slices[i].row_begin + (begin - job.done);
    pool.rows = end - begin;
    pool.first_weight = wanted.rising ? static_cast<double>(begin - wanted.first + 1) : 1.0;
    pool.weight_step = wanted.rising ? 1.0 : 0.0;
    pool.sums = sums_[i].data();
    pools_[*job.job.wants.normed_after].push_back(pool);
  }
}

void StepCollector::deal_out_sums() {
  for (std::size_t i = 0; i < slices_.size(); ++i) {
    ActiveJob& job = *slices_[i].job;
    if (!job.job.wants.pool) continue;
    job.pool_sums = std::move(sums_[i]);
    if (slices_[i].count < job.remaining()) continue;
    const double count = static_cast<double>(job.job.wants.pool->count);
    const double total = job.job.wants.pool->rising ? count * (count + 1) / 2 : count;
    job.output.pooled.clear();
    for (const double sum : job.pool_sums) job.output.pooled.push_back(static_cast<float>(sum / total));
  }
}

bool StepCollector::gives_way() {
  abandoned_ = abandoned_ || (gives_way_ != nullptr && *gives_way_);
  return abandoned_;
}

void StepCollector::deal_out(const StepLogits& logits) {
  deal_out_sums();
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
  return any([&](const Wants& wants) { return wants.normed_after == layers && !wants.pool; });
}
std::span<const PoolRows> StepCollector::pools(std::size_t layers) const { return pools_[layers]; }
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
    if (job.job.wants.normed_after != layers || job.job.wants.pool) continue;
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
