#include "apps/server/metrics.h"

#include <cstdio>

namespace gritstone {
namespace {

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.9g", value);
  return text;
}

template <typename Value>
void line(std::string& out, std::string_view kind, std::string_view name, std::string_view help, Value value) {
  out.append("# HELP ").append(name).append(" ").append(help).append("\n# TYPE ").append(name).append(" ").append(kind).append("\n");
  out.append(name).append(" ").append(std::to_string(value)).append("\n");
}

void header(std::string& out, std::string_view kind, std::string_view name, std::string_view help) {
  out.append("# HELP ").append(name).append(" ").append(help).append("\n# TYPE ").append(name).append(" ").append(kind).append("\n");
}

}  // namespace

void Histogram::observe(double seconds) noexcept {
  std::size_t i = 0;
  while (i < kBounds.size() && seconds > kBounds[i]) ++i;
  buckets_[i].fetch_add(1, std::memory_order_relaxed);
  sum_us_.fetch_add(seconds > 0 ? static_cast<std::uint64_t>(seconds * 1e6) : 0, std::memory_order_relaxed);
}

void Histogram::write(std::string& out, std::string_view name, std::string_view labels) const {
  const std::string comma = labels.empty() ? "" : std::string(labels) + ",";
  const std::string braces = labels.empty() ? std::string() : std::string("{").append(labels).append("}");
  std::uint64_t total = 0;
  const auto bucket = [&](const std::string& bound) {
    out.append(name).append("_bucket{").append(comma).append("le=\"").append(bound).append("\"} ");
    out.append(std::to_string(total)).append("\n");
  };
  for (std::size_t i = 0; i < kBounds.size(); ++i) {
    total += buckets_[i].load(std::memory_order_relaxed);
    bucket(number(kBounds[i]));
  }
  total += buckets_.back().load(std::memory_order_relaxed);
  bucket("+Inf");
  out.append(name).append("_sum").append(braces).append(" ");
  out.append(number(static_cast<double>(sum_us_.load(std::memory_order_relaxed)) / 1e6)).append("\n");
  // The sum of the buckets, so that both always agree.
  out.append(name).append("_count").append(braces).append(" ").append(std::to_string(total)).append("\n");
}

std::string_view stage_name(Stage stage) noexcept {
  constexpr std::array<std::string_view, kStages> kNames = {"queue",   "embed", "bm25",    "vector", "fuse", "prompt",
                                                            "compose", "load",  "prefill", "decode", "cite"};
  return kNames[static_cast<std::size_t>(stage)];
}

void Metrics::count_request(const std::string& route, std::string_view method, int status, double seconds) {
  const std::size_t status_class = status >= 100 && status < 600 ? static_cast<std::size_t>(status / 100) : 0;
  const std::lock_guard lock(mutex_);
  RouteFigures& figures = routes_[route == "none" ? route : std::string(method) + " " + route];
  ++figures.by_class[status_class];
  figures.seconds.observe(seconds);
}

void Metrics::count_tokens(std::size_t prompt, std::size_t cached, std::size_t completion) noexcept {
  prompt_tokens_ += prompt;
  cached_tokens_ += cached;
  completion_tokens_ += completion;
}

void Metrics::observe_stage(Stage stage, double milliseconds) noexcept {
  stages_[static_cast<std::size_t>(stage)].observe(milliseconds / 1e3);
}

std::string Metrics::text(std::string_view extra) const {
  std::string out;
  {
    const std::lock_guard lock(mutex_);
    header(out, "counter", "gritstone_requests_total", "Requests answered, by route and class of status");
    for (const auto& [route, figures] : routes_) {
      for (std::size_t i = 0; i < figures.by_class.size(); ++i) {
        if (figures.by_class[i] == 0) continue;
        out.append("gritstone_requests_total{route=\"").append(route).append("\",status=\"").append(std::to_string(i)).append("xx\"} ");
        out.append(std::to_string(figures.by_class[i])).append("\n");
      }
    }
    header(out, "histogram", "gritstone_request_seconds", "From a complete head to the end of the answer");
    for (const auto& [route, figures] : routes_) figures.seconds.write(out, "gritstone_request_seconds", "route=\"" + route + "\"");
  }
  header(out, "histogram", "gritstone_ttft_seconds", "From the start of an answer's work to its first token");
  ttft_.write(out, "gritstone_ttft_seconds", "");
  header(out, "histogram", "gritstone_tpot_seconds", "Between two tokens of an answer, mean of each answer");
  tpot_.write(out, "gritstone_tpot_seconds", "");
  header(out, "histogram", "gritstone_stage_seconds", "Of one request");
  for (std::size_t i = 0; i < kStages; ++i) {
    const std::string label = "stage=\"" + std::string(stage_name(static_cast<Stage>(i))) + "\"";
    stages_[i].write(out, "gritstone_stage_seconds", label);
  }
  line(out, "counter", "gritstone_prompt_tokens_total", "Tokens put before the model, reused ones included", prompt_tokens_.load());
  line(out, "counter", "gritstone_cached_tokens_total", "Prompt tokens whose states were reused", cached_tokens_.load());
  line(out, "counter", "gritstone_completion_tokens_total", "Tokens written", completion_tokens_.load());
  line(out, "counter", "gritstone_answers_total", "Questions answered from a collection", answers.load());
  line(out, "counter", "gritstone_abstentions_total", "Of these, that the documents did not hold", abstentions.load());
  line(out, "gauge", "gritstone_connections", "Open connections", connections.load());
  line(out, "gauge", "gritstone_requests_running", "Requests being answered, waiting ones included", requests_running.load());
  line(out, "gauge", "gritstone_slots_busy", "Requests that use the model", slots_busy.load());
  line(out, "gauge", "gritstone_queue_length", "Requests that wait for a slot", queue_length.load());
  line(out, "counter", "gritstone_refused_queue_full_total", "Answered 429 because the queue was full", refused_queue_full.load());
  line(out, "counter", "gritstone_refused_queue_wait_total", "Answered 429 after waiting too long", refused_queue_wait.load());
  line(out, "counter", "gritstone_refused_connections_total", "Connections over the limits", refused_connections.load());
  line(out, "counter", "gritstone_disconnects_total", "Clients that left before their answer was complete", disconnects.load());
  line(out, "counter", "gritstone_deadlines_total", "Requests that ran into their deadline", deadlines.load());
  line(out, "counter", "gritstone_slow_readers_total", "Clients cut off because they did not read", slow_readers.load());
  line(out, "counter", "gritstone_certificate_checks_total", "Answers under a certificate that were written again without reuse",
       certificate_checks.load());
  line(out, "counter", "gritstone_certificate_changes_total", "Of these, those that came out in other words", certificate_changes.load());
  line(out, "counter", "gritstone_certificate_revocations_total", "Certificates that these checks revoked", certificate_revocations.load());
  line(out, "counter", "gritstone_keep_failures_total", "Times that computed spans or vectors could not be stored", keep_failures.load());
  line(out, "gauge", "gritstone_ingest_pending", "Files waiting for or in background indexing", ingest_pending.load());
  line(out, "counter", "gritstone_ingest_completed_total", "Files indexed in the background", ingest_completed.load());
  line(out, "counter", "gritstone_ingest_failed_total", "Files that could not be indexed", ingest_failed.load());
  out.append(extra);
  return out;
}

}  // namespace gritstone
