// Figures about the running server, in the text format of Prometheus. Label sets are fixed, so that no request can make them grow.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

namespace gritstone {

// Seconds, cumulative buckets.
class Histogram {
 public:
  void observe(double seconds) noexcept;
  // name_bucket{labels,le="..."}, name_sum, name_count. labels: "" or "stage=\"prefill\"".
  void write(std::string& out, std::string_view name, std::string_view labels) const;

 private:
  static constexpr std::array<double, 14> kBounds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30};
  std::array<std::atomic<std::uint64_t>, kBounds.size() + 1> buckets_{};
  std::atomic<std::uint64_t> sum_us_{0};
};

enum class Stage { kQueue, kEmbed, kBm25, kVector, kFuse, kPrompt, kCompose, kLoad, kPrefill, kDecode, kCite };
inline constexpr std::size_t kStages = 11;
std::string_view stage_name(Stage stage) noexcept;

// Thread-safe.
class Metrics {
 public:
  // route: template of the route table, or "none"; anything else would be an unbounded label. status: of the answer; 499: the client left.
  void count_request(const std::string& route, std::string_view method, int status, double seconds);
  void count_tokens(std::size_t prompt, std::size_t cached, std::size_t completion) noexcept;
  void observe_stage(Stage stage, double milliseconds) noexcept;
  void observe_ttft(double milliseconds) noexcept { ttft_.observe(milliseconds / 1e3); }
  void observe_tpot(double milliseconds) noexcept { tpot_.observe(milliseconds / 1e3); }

  // Gauges and counters that the server and others keep.
  std::atomic<std::int64_t> connections{0};
  std::atomic<std::int64_t> requests_running{0};
  std::atomic<std::int64_t> slots_busy{0};
  std::atomic<std::int64_t> queue_length{0};
  std::atomic<std::uint64_t> refused_queue_full{0};
  std::atomic<std::uint64_t> refused_queue_wait{0};
  std::atomic<std::uint64_t> refused_connections{0};
  std::atomic<std::uint64_t> disconnects{0};
  std::atomic<std::uint64_t> deadlines{0};
  std::atomic<std::uint64_t> slow_readers{0};
  std::atomic<std::uint64_t> answers{0};
  std::atomic<std::uint64_t> abstentions{0};
  std::atomic<std::uint64_t> keep_failures{0};
  // Answers given under a certificate that were written again without reuse, those of other words, and certificates that this revoked.
  std::atomic<std::uint64_t> certificate_checks{0}, certificate_changes{0}, certificate_revocations{0};
  std::atomic<std::int64_t> ingest_pending{0};  // files waiting for or in background indexing
  std::atomic<std::uint64_t> ingest_completed{0};
  std::atomic<std::uint64_t> ingest_failed{0};

  // `extra`: lines of others (cache, memory), appended.
  std::string text(std::string_view extra) const;

 private:
  struct RouteFigures {
    std::array<std::uint64_t, 6> by_class{};  // index: status / 100
    Histogram seconds;
  };
  mutable std::mutex mutex_;
  std::map<std::string, RouteFigures> routes_;  // "GET /v1/models"
  Histogram ttft_, tpot_;
  std::array<Histogram, kStages> stages_;
  std::atomic<std::uint64_t> prompt_tokens_{0}, cached_tokens_{0}, completion_tokens_{0};
};

}  // namespace gritstone
