// Checks a job and works out where its tokens go.
#pragma once

#include <cstddef>
#include <vector>

#include "base/kv_span.h"
#include "model/job.h"
#include "model/model_config.h"

namespace gritstone {

struct SlotRange {
  std::size_t slot = 0;
  std::size_t count = 0;
  KvType type = KvType::kBF16;
};

// What the engine needs to know about a valid job.
struct JobLayout {
  std::vector<TokenRun> runs;    // explicit, by first token; cover all tokens; slots ascend
  std::size_t slots = 0;         // after the tokens: 0..slots-1 are all in use
  std::size_t capacity = 0;      // slots to reserve: max(slots, Job::max_slots)
  std::size_t depth = 0;         // layers to compute
  bool probe = false;            // and the projections of the next one
  std::vector<SlotRange> saved;  // where the KV lies that Wants::kv asks for
  bool grouped = false;          // some slot is visible only to its group
};

// Throws Error(kInvalidArgument) naming the offending value: no tokens, token outside the vocabulary, slots that overlap, leave a hole or
// exceed the model's context, positions beyond the context, a span of another shape or type, layers or rows that do not exist, more
// than kMaxTopLogits of a row.
JobLayout validate_job(const Job& job, const ModelConfig& config);

}  // namespace gritstone
