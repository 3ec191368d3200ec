// A job while the engine works on it: its slots, how far it has come, and what it has produced.
#pragma once

#include <chrono>
#include <cstddef>
#include <future>
#include <vector>

#include "model/backend.h"
#include "model/job.h"
#include "model/job_layout.h"
#include "model/kv_pages.h"
#include "model/ops/step.h"

namespace gritstone {

using Clock = std::chrono::steady_clock;

// Owned by the engine's thread once admitted.
class ActiveJob {
 public:
  ActiveJob(Job job, JobLayout layout, std::uint64_t order);

  Job job;
  JobLayout layout;
  std::uint64_t order;  // arrival
  std::promise<JobOutput> promise;
  KvSequence kv;
  std::size_t done = 0;           // tokens of the current round that are computed
  bool loading = false;           // spans of its context reach the pages with its next step
  bool decoding = false;          // `next` has continued it at least once
  JobOutput output;               // of the current round
  std::vector<double> pool_sums;  // [hidden], with Wants::pool
  Clock::time_point submitted;
  Clock::time_point started;
  double queued_seconds = 0;
  double load_seconds = 0;
  double compute_seconds = 0;

  std::size_t remaining() const noexcept { return job.tokens.size() - done; }
  Priority priority() const noexcept { return decoding ? Priority::kDecode : job.priority; }
  // Bidirectional tokens see each other, so all of them must be in one step.
  bool splittable() const noexcept { return job.attention == Attention::kCausal; }

  // Takes pages, has the context's spans loaded and sets every slot's position and group.
  void admit(KvPages& pages, Backend& backend);

  // Appends the rows of the next `count` tokens to the step.
  void plan(StepRows& step, std::size_t count);

  // Rows of this round whose logits are wanted, among tokens [done, done + count): indexes relative to `done`.
  std::vector<std::size_t> logit_rows(std::size_t count) const;

  // Sizes the output's matrices for the current round.
  void begin_round(const ModelConfig& config);

  // Replaces the round's tokens with the continuation's; false if it does not fit into the reserved slots.
  bool continue_with(NextTokens next);
};

}  // namespace gritstone
