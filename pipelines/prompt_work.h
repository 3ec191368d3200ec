// What the model has to do for a prompt's first token, before any of it is done.
#pragma once

#include <cstddef>
#include <cstdint>

#include "generator/prompt_format.h"
#include "index/span_cache.h"
#include "pipelines/reuse_policy.h"
#include "pipelines/span_naming.h"

namespace gritstone {

struct PromptWork {
  std::size_t prompt_tokens = 0;
  std::size_t live_tokens = 0;     // of the answer's own pass
  std::size_t context_tokens = 0;  // loaded in front of them
  std::size_t missing_tokens = 0;  // passages' spans that the cache lacks, with their heads: a pass in front
  std::size_t missing_spans = 0;
  std::size_t probe_tokens = 0;  // kBlend: through the first two layers
  std::uint64_t ram_bytes = 0, disk_bytes = 0;
};

// What PromptComposer::compose() and the job after it would do for this prompt with what the cache holds now.
// REQUIRES: the policy is none of GRIT's.
PromptWork prompt_work(const Prompt& prompt, const SpanNaming& naming, const SpanCache& cache, const ReusePolicy& policy);

}  // namespace gritstone
