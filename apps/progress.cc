#include "apps/progress.h"

#include <algorithm>

#include "apps/terminal.h"

namespace gritstone {

std::string Progress::line(std::string_view stage, std::uint64_t done, std::uint64_t total, std::string_view unit, double seconds) {
  std::string text(stage);
  const std::string units(unit);
  const double rate = seconds > 0 ? static_cast<double>(done) / seconds : 0;
  if (total > 0) {
    constexpr std::size_t kWidth = 24;
    const double fraction = std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
    const auto filled = static_cast<std::size_t>(fraction * kWidth);
    text += " [" + std::string(filled, '#') + std::string(kWidth - filled, '.') + format("] %3.0f %% ", fraction * 100);
    text += human_count(done) + "/" + human_count(total) + " " + units;
  } else {
    text += " " + human_count(done) + " " + units;
  }
  if (rate > 0) text += format(rate < 10 ? ", %.2f %s/s" : ", %.0f %s/s", rate, units.c_str());
  if (rate > 0 && total > done) text += ", " + human_seconds(static_cast<double>(total - done) / rate) + " left";
  return text;
}

void Progress::update(std::string_view stage, std::uint64_t done, std::uint64_t total, std::string_view unit) {
  if (!enabled_) return;
  std::lock_guard lock(mutex_);
  const Clock::time_point now = Clock::now();
  if (stage != stage_) {
    stage_ = stage;
    start_ = now;
    drawn_ = {};
    first_ = done;
  }
  const bool last = total > 0 && done >= total;
  if (!last && now - drawn_ < std::chrono::milliseconds(100)) return;
  drawn_ = now;
  visible_ = true;
  // What was there before this run (a resumed index) does not count for the rate.
  const double seconds = std::chrono::duration<double>(now - start_).count();
  std::string text =
      line(stage, done, total, unit, done > first_ ? seconds * static_cast<double>(done) / static_cast<double>(done - first_) : 0);
  print_err("\r\x1b[K" + text);
}

void Progress::clear() {
  std::lock_guard lock(mutex_);
  if (visible_) print_err("\r\x1b[K");
  visible_ = false;
}

}  // namespace gritstone
