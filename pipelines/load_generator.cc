#include "pipelines/load_generator.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <random>
#include <thread>
#include <utility>

#include "base/error.h"

namespace gritstone {
namespace {

std::int64_t steady_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// `due` null: due when it begins.
std::vector<RequestRecord> run(std::size_t n, std::size_t workers, LoadClock& clock, const LoadTarget& target, const std::stop_token& stop,
                               const OnRecord& on_record, const std::vector<double>* due) {
  std::vector<RequestRecord> records;
  records.reserve(n);
  std::mutex mutex;
  std::atomic<std::size_t> next{0};
  const auto work = [&] {
    while (!stop.stop_requested()) {
      const std::size_t i = next++;
      if (i >= n) return;
      if (due != nullptr) clock.sleep_until((*due)[i]);
      if (stop.stop_requested()) return;
      const double begun = clock.now();
      RequestRecord record;
      static_cast<RequestOutcome&>(record) = target(i, clock);
      record.index = i;
      record.begun = begun;
      record.due = due != nullptr ? (*due)[i] : begun;
      record.ended = clock.now();
      const std::lock_guard lock(mutex);
      if (on_record) on_record(record);
      records.push_back(std::move(record));
    }
  };
  // One worker runs here: on a clock that is not real, nothing else may move.
  std::vector<std::thread> threads;
  for (std::size_t i = 1; i < workers; ++i) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
  std::ranges::sort(records, {}, &RequestRecord::index);
  return records;
}

}  // namespace

std::vector<double> arrival_times(std::size_t n, const ArrivalOptions& options) {
  if (!(options.rate > 0) || !(options.burstiness > 0)) {
    throw Error(ErrorCode::kInvalidArgument, "rate and burstiness must be above 0");
  }
  std::mt19937_64 random(options.seed);
  std::gamma_distribution<double> gap(options.burstiness, 1 / (options.rate * options.burstiness));
  std::vector<double> times(n);
  double at = 0;
  for (double& time : times) time = at += gap(random);
  return times;
}

SteadyClock::SteadyClock() : start_ns_(steady_ns()) {}
double SteadyClock::now() { return static_cast<double>(steady_ns() - start_ns_) * 1e-9; }
void SteadyClock::sleep_until(double seconds) {
  const double left = seconds - now();
  if (left > 0) std::this_thread::sleep_for(std::chrono::duration<double>(left));
}

std::vector<RequestRecord> run_open_loop(const std::vector<double>& due, std::size_t connections, LoadClock& clock,
                                         const LoadTarget& target, std::stop_token stop, const OnRecord& on_record) {
  return run(due.size(), connections, clock, target, stop, on_record, &due);
}

std::vector<RequestRecord> run_closed_loop(std::size_t n, std::size_t clients, LoadClock& clock, const LoadTarget& target,
                                           std::stop_token stop, const OnRecord& on_record) {
  return run(n, clients, clock, target, stop, on_record, nullptr);
}

}  // namespace gritstone
