// A progress line on standard error: stage, bar, count, rate and time left.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

namespace gritstone {

// Draws only if `enabled` (a terminal, and not --quiet). Thread-safe. At most ten redraws a second.
class Progress {
 public:
  explicit Progress(bool enabled) : enabled_(enabled) {}
  ~Progress() { clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // done of total units ("chunks"); total 0: unknown. A new stage name restarts rate and clock.
  void update(std::string_view stage, std::uint64_t done, std::uint64_t total, std::string_view unit);
  // Removes the line, so that other output starts in a clean one.
  void clear();

  // The line without terminal control, for one point in time.
  static std::string line(std::string_view stage, std::uint64_t done, std::uint64_t total, std::string_view unit, double seconds);

 private:
  using Clock = std::chrono::steady_clock;
  const bool enabled_;
  std::mutex mutex_;
  std::string stage_;
  Clock::time_point start_{};
  Clock::time_point drawn_{};
  std::uint64_t first_ = 0;
  bool visible_ = false;
};

}  // namespace gritstone
