#include "pipelines/eval_latency.h"

#include <sys/resource.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <utility>

#include "base/error.h"

namespace gritstone {
namespace {

double seconds_of(const timeval& t) { return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec); }

// Energy counters of all packages, in microjoules.
std::optional<double> rapl_joules() {
  std::error_code error;
  double sum = 0;
  bool any = false;
  for (std::filesystem::directory_iterator it("/sys/class/powercap", error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename();
    // intel-rapl:0 is a package, intel-rapl:0:1 a part of it.
    if (!name.starts_with("intel-rapl:") || name.find(':', 11) != std::string::npos) continue;
    std::ifstream file(it->path() / "energy_uj");
    double microjoules = 0;
    if (!(file >> microjoules)) return std::nullopt;
    sum += microjoules * 1e-6;
    any = true;
  }
  return any ? std::optional(sum) : std::nullopt;
}

}  // namespace

std::map<std::string, double> stage_times(const AnswerTimings& t) {
  std::map<std::string, double> stages;
  for (const auto& [name, ms] : {std::pair{"embed_ms", t.embed_ms},
                                 {"bm25_ms", t.bm25_ms},
                                 {"vector_ms", t.vector_ms},
                                 {"fuse_ms", t.fuse_ms},
                                 {"prompt_ms", t.prompt_ms},
                                 {"compose_ms", t.compose_ms},
                                 {"queue_ms", t.queue_ms},
                                 {"load_ms", t.load_ms},
                                 {"prefill_ms", t.prefill_ms},
                                 {"decode_ms", t.decode_ms},
                                 {"cite_ms", t.cite_ms}}) {
    if (ms > 0) stages[name] = ms;
  }
  return stages;
}

LoadTarget answer_target(Store& store, const Embedder* embedder, const ModelParts& model, const AnswerTargetOptions& options) {
  if (options.questions.empty()) throw Error(ErrorCode::kInvalidArgument, "there are no questions");
  return [&store, embedder, &model, options](std::size_t index, LoadClock& clock) {
    RequestOutcome outcome;
    try {
      AnswerOptions ask = options.answer;
      std::unique_ptr<SpanCache> own;
      if (options.cold) {
        own = std::make_unique<SpanCache>(store, SpanCacheOptions{std::uint64_t{1} << 30, 0, {}, false});
        ask.cache = own.get();
      }
      const double begun = clock.now();
      ask.on_text = [&](std::string_view) { outcome.pieces.push_back(clock.now()); };
      const auto snapshot = store.snapshot(options.collection);
      const AnswerResult result = answer(*snapshot, embedder, model, options.questions[index % options.questions.size()], ask);
      outcome.ok = true;
      outcome.tokens = result.usage.completion_tokens;
      if (outcome.tokens > 0) outcome.first_token = begun + 1e-3 * result.timings.ttft_ms;
      outcome.stages = stage_times(result.timings);
    } catch (const std::exception& error) {
      outcome.error = error.what();
    }
    return outcome;
  };
}

ProcessUsage process_usage() {
  ProcessUsage usage;
  rusage r{};
  if (::getrusage(RUSAGE_SELF, &r) == 0) {
    usage.cpu_seconds = seconds_of(r.ru_utime) + seconds_of(r.ru_stime);
    usage.peak_rss = static_cast<std::uint64_t>(r.ru_maxrss) * 1024;
  }
  std::ifstream io("/proc/self/io");
  std::string key;
  std::uint64_t value = 0;
  while (io >> key >> value) {
    if (key == "read_bytes:") usage.read_bytes = value;
  }
  usage.joules = rapl_joules();
  return usage;
}

}  // namespace gritstone
