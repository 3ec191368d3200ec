#include "model/job_layout.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/error.h"

namespace gritstone {
namespace {

[[noreturn]] void reject(const std::string& reason) { throw Error(ErrorCode::kInvalidArgument, "job: " + reason); }

void check_tokens(const Job& job, const ModelConfig& config) {
  if (job.tokens.empty()) reject("no tokens");
  for (const TokenId token : job.tokens) {
    if (token < 0 || static_cast<std::size_t>(token) >= config.vocab) {
      reject("token " + std::to_string(token) + " is outside the vocabulary of " + std::to_string(config.vocab));
    }
  }
}

void check_segments(const Job& job, const ModelConfig& config) {
  for (const Segment& segment : job.context) {
    if (!segment.span) reject("segment without a span");
    const KvSpan& span = *segment.span;
    if (span.shape != KvShape{config.layers, config.kv_heads, config.head_dim} || span.bytes.size() != span.total_bytes()) {
      reject("span of another model, or incomplete");
    }
    if (segment.length == 0 || segment.offset > span.tokens || segment.length > span.tokens - segment.offset) {
      reject("segment [" + std::to_string(segment.offset) + ", +" + std::to_string(segment.length) + ") outside its span of " +
             std::to_string(span.tokens) + " tokens");
    }
  }
}

std::vector<TokenRun> runs_of(const Job& job) {
  std::vector<TokenRun> runs = job.runs;
  if (runs.empty()) {
    TokenRun run;
    run.count = job.tokens.size();
    if (!job.context.empty()) {
      run.slot = job.context.back().slot + job.context.back().length;
      run.position = job.context.back().position + job.context.back().length;
    }
    runs.push_back(run);
  }
  std::size_t next_token = 0, next_slot = 0;
  for (const TokenRun& run : runs) {
    if (run.count == 0 || run.first != next_token || run.count > job.tokens.size() - run.first)
      reject("runs do not cover the tokens in order");
    if (run.slot < next_slot) reject("runs are not in slot order");
    next_token = run.first + run.count;
    next_slot = run.slot + run.count;
  }
  if (next_token != job.tokens.size())
    reject("runs cover " + std::to_string(next_token) + " of " + std::to_string(job.tokens.size()) + " tokens");
  return runs;
}

// Slots must be covered once each, without holes: attention walks them in blocks from slot 0.
std::size_t check_slots(const Job& job, const std::vector<TokenRun>& runs, const ModelConfig& config) {
  struct Interval {
    std::size_t slot, length, position;
    Group group;
  };
  std::vector<Interval> intervals;
  for (const Segment& s : job.context) intervals.push_back({s.slot, s.length, s.position, s.group});
  for (const TokenRun& r : runs) intervals.push_back({r.slot, r.count, r.position, r.group});
  std::sort(intervals.begin(), intervals.end(), [](const Interval& a, const Interval& b) { return a.slot < b.slot; });
  std::size_t slots = 0;
  for (const Interval& interval : intervals) {
    if (interval.slot != slots) reject("slot " + std::to_string(std::min(interval.slot, slots)) + " is used twice or by nothing");
    if (interval.group < kSeesAll) reject("group " + std::to_string(interval.group));
    slots += interval.length;
    if (slots > config.context || interval.position > config.context - interval.length) {
      throw Error(ErrorCode::kInvalidArgument, "the prompt needs " + std::to_string(std::max(slots, interval.position + interval.length)) +
                                                   " tokens, the model's context has " + std::to_string(config.context));
    }
  }
  return slots;
}

std::size_t depth_of(const Job& job, const ModelConfig& config) {
  const Wants& wants = job.wants;
  for (const std::size_t layer : wants.hidden_after) {
    if (layer > config.layers) reject("hidden state after layer " + std::to_string(layer) + " of " + std::to_string(config.layers));
  }
  if (wants.normed_after && *wants.normed_after > config.layers)
    reject("layer " + std::to_string(*wants.normed_after) + " of " + std::to_string(config.layers));
  if (wants.pool) {
    const Wants::Pool& pool = *wants.pool;
    if (!wants.normed_after) reject("pooling of states that are not wanted");
    if (pool.count == 0 || pool.first > job.tokens.size() || pool.count > job.tokens.size() - pool.first) {
      reject("pooling of tokens [" + std::to_string(pool.first) + ", +" + std::to_string(pool.count) + ") of " +
             std::to_string(job.tokens.size()));
    }
    if (job.next) reject("pooling of a job that goes on");
  }
  if (wants.logits == Wants::Logits::kRows) {
    if (wants.logit_rows.empty() || !std::is_sorted(wants.logit_rows.begin(), wants.logit_rows.end()) ||
        wants.logit_rows.back() >= job.tokens.size()) {
      reject("logit rows must ascend and name live tokens");
    }
  }
  if (wants.kv_probe && *wants.kv_probe >= config.layers)
    reject("K and V of layer " + std::to_string(*wants.kv_probe) + " of " + std::to_string(config.layers));
  if (wants.top_logits > kMaxTopLogits)
    reject("the " + std::to_string(wants.top_logits) + " largest logits of a row; at most " + std::to_string(kMaxTopLogits));
  const bool partial = wants.normed_after.has_value() || !wants.hidden_after.empty() || wants.kv_probe.has_value();
  if (!partial || wants.logits != Wants::Logits::kNone || !wants.kv.empty() || job.next) return config.layers;
  std::size_t depth = std::max(wants.normed_after.value_or(0), wants.kv_probe.value_or(0));
  for (const std::size_t layer : wants.hidden_after) depth = std::max(depth, layer);
  return depth;
}

// The slots of every wanted stretch of KV.
std::vector<SlotRange> saved_slots(const Job& job, const std::vector<TokenRun>& runs) {
  const auto slot_of = [&](std::size_t token) {
    const auto run = std::find_if(runs.begin(), runs.end(), [&](const TokenRun& r) { return token < r.first + r.count; });
    return run->slot + (token - run->first);
  };
  std::vector<SlotRange> ranges;
  for (const Wants::Kv& kv : job.wants.kv) {
    if (kv.count == 0 || kv.first > job.tokens.size() || kv.count > job.tokens.size() - kv.first) {
      reject("KV of tokens [" + std::to_string(kv.first) + ", +" + std::to_string(kv.count) + ") of " + std::to_string(job.tokens.size()));
    }
    const SlotRange range{slot_of(kv.first), kv.count, kv.type};
    if (slot_of(kv.first + kv.count - 1) != range.slot + range.count - 1) reject("KV of tokens whose slots are not consecutive");
    ranges.push_back(range);
  }
  return ranges;
}

}  // namespace

JobLayout validate_job(const Job& job, const ModelConfig& config) {
  check_tokens(job, config);
  check_segments(job, config);
  JobLayout layout;
  layout.runs = runs_of(job);
  layout.slots = check_slots(job, layout.runs, config);
  layout.capacity = std::max(layout.slots, job.max_slots);
  if (layout.capacity > config.context) {
    reject(std::to_string(layout.capacity) + " slots, the model's context has " + std::to_string(config.context));
  }
  layout.depth = depth_of(job, config);
  layout.probe = job.wants.kv_probe == layout.depth;
  layout.saved = saved_slots(job, layout.runs);
  const auto own_group = [](Group group) { return group > 0; };
  layout.grouped = std::any_of(job.context.begin(), job.context.end(), [&](const Segment& s) { return own_group(s.group); }) ||
                   std::any_of(layout.runs.begin(), layout.runs.end(), [&](const TokenRun& r) { return own_group(r.group); });
  return layout;
}

}  // namespace gritstone
