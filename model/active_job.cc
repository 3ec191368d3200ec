#include "model/active_job.h"

#include <algorithm>

#include "base/error.h"

namespace gritstone {

ActiveJob::ActiveJob(Job job_, JobLayout layout_, std::uint64_t order_)
    : job(std::move(job_)), layout(std::move(layout_)), order(order_), submitted(Clock::now()) {}

void ActiveJob::admit(KvPages& pool, Backend& backend) {
  const std::size_t pages = (layout.capacity + kKvBlock - 1) / kKvBlock;
  kv.pages = pool.allocate(pages);
  kv.positions.assign(pages * kKvBlock, 0);
  kv.groups.assign(pages * kKvBlock, kSeesAll);
  kv.grouped = layout.grouped;
  kv.slots = layout.slots;
  const auto place = [&](std::size_t slot, std::size_t position, std::size_t length, Group group) {
    for (std::size_t i = 0; i < length; ++i) {
      kv.positions[slot + i] = static_cast<std::int32_t>(position + i);
      kv.groups[slot + i] = group;
    }
  };
  for (const Segment& s : job.context) place(s.slot, s.position, s.length, s.group);
  for (const TokenRun& r : layout.runs) place(r.slot, r.position, r.count, r.group);
  started = Clock::now();
  queued_seconds = std::chrono::duration<double>(started - submitted).count();
  loading = !job.context.empty();
  if (loading) backend.load(kv, job.context);
  load_seconds = std::chrono::duration<double>(Clock::now() - started).count();
  job.context.clear();  // the backend holds what it still needs; let the spans' owner evict them
}

void ActiveJob::plan(StepRows& step, std::size_t count) {
  StepSequence sequence;
  sequence.kv = &kv;
  sequence.row_begin = step.size();
  sequence.rows = count;
  sequence.depth = layout.depth;
  sequence.probe = layout.probe;
  step.sequences.push_back(sequence);
  for (const TokenRun& run : layout.runs) {
    const std::size_t begin = std::max(run.first, done), end = std::min(run.first + run.count, done + count);
    for (std::size_t token = begin; token < end; ++token) {
      const std::size_t slot = run.slot + (token - run.first);
      step.tokens.push_back(job.tokens[token]);
      step.slots.push_back(slot);
      step.visible.push_back(job.attention == Attention::kBidirectional ? layout.slots : slot + 1);
    }
  }
}

std::vector<std::size_t> ActiveJob::logit_rows(std::size_t count) const {
  std::vector<std::size_t> rows;
  switch (job.wants.logits) {
    case Wants::Logits::kNone:
      break;
    case Wants::Logits::kLast:
      if (done + count == job.tokens.size()) rows.push_back(count - 1);
      break;
    case Wants::Logits::kAll:
      for (std::size_t i = 0; i < count; ++i) rows.push_back(i);
      break;
    case Wants::Logits::kRows:
      for (const std::size_t row : job.wants.logit_rows) {
        if (row >= done && row < done + count) rows.push_back(row - done);
      }
      break;
  }
  return rows;
}

void ActiveJob::begin_round(const ModelConfig& config) {
  const std::size_t tokens = job.tokens.size();
  // Logits are a fifth of a megabyte a token: the memory of the last round serves again.
  std::vector<float> logits = std::move(output.logits);
  logits.clear();
  std::vector<TopLogit> top = std::move(output.top);
  top.clear();
  output = JobOutput{};
  output.logits = std::move(logits);
  output.top = std::move(top);
  output.tokens = tokens;
  output.hidden.resize(job.wants.hidden_after.size());
  for (std::vector<float>& states : output.hidden) states.resize(tokens * config.hidden);
  if (job.wants.pool) pool_sums.assign(config.hidden, 0.0);
  if (job.wants.normed_after && !job.wants.pool) output.normed.resize(tokens * config.hidden);
  if (job.wants.kv_probe) output.probe.resize(tokens * 2 * config.kv_width());
  if (job.wants.router && config.experts > 0) output.router.assign(layout.depth, std::vector<float>(tokens * config.experts));
}

bool ActiveJob::continue_with(NextTokens next) {
  const std::size_t keep = next.keep_slots.value_or(kv.slots);
  if (keep == 0 || keep > kv.slots || next.tokens.empty())
    throw Error(ErrorCode::kInvalidArgument, "continuation keeps no slot or has no tokens");
  if (next.tokens.size() > layout.capacity - keep) return false;
  for (const SlotRange& range : layout.saved) {
    if (keep < range.slot + range.count) throw Error(ErrorCode::kInvalidArgument, "continuation gives up slots whose KV is wanted");
  }
  TokenRun run;
  run.count = next.tokens.size();
  run.slot = keep;
  run.position = static_cast<std::size_t>(kv.positions[keep - 1]) + 1;
  for (std::size_t i = 0; i < run.count; ++i) {
    kv.positions[keep + i] = static_cast<std::int32_t>(run.position + i);
    kv.groups[keep + i] = kSeesAll;
  }
  layout.runs = {run};
  layout.slots = keep + run.count;
  kv.slots = layout.slots;
  job.tokens = std::move(next.tokens);
  job.attention = Attention::kCausal;
  job.wants.logits = next.logits;
  job.wants.top_logits = next.top_logits;
  done = 0;
  decoding = true;
  return true;
}

}  // namespace gritstone
