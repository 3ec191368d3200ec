// Answering under load: what a user waits for, and what it costs the machine.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "pipelines/answer.h"
#include "pipelines/load_generator.h"

namespace gritstone {

struct AnswerTargetOptions {
  std::vector<std::string> questions;  // request i asks questions[i % size]
  std::string collection;
  AnswerOptions answer;  // search, length, sampling, reuse and layout; its cache is used where `cold` is false
  bool cold = false;     // every request has a cache of its own with nothing in it, and what is on disk is not looked at
};

// Answers in this process, on the engine that all requests share: many at a time. Each request takes the newest generation. Borrows
// everything.
//   embedder  of the collection; null: by words alone
LoadTarget answer_target(Store& store, const Embedder* embedder, const ModelParts& model, const AnswerTargetOptions& options);

// Milliseconds by stage, as `ask --json` names them, of the stages that took any time.
std::map<std::string, double> stage_times(const AnswerTimings& timings);

// What this process has used so far; the difference of two is what a run cost.
struct ProcessUsage {
  double cpu_seconds = 0;        // user and system, all threads
  std::uint64_t read_bytes = 0;  // from the disk (/proc/self/io)
  std::uint64_t peak_rss = 0;    // bytes; of the whole life
  std::optional<double> joules;  // of the CPU packages (RAPL), where it can be read; wraps around are not seen
};
ProcessUsage process_usage();

}  // namespace gritstone
