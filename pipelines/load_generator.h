// Sends requests at times of its own, whatever the system does meanwhile, and measures from the time each was due.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <stop_token>
#include <string>
#include <vector>

namespace gritstone {

struct ArrivalOptions {
  double rate = 1;        // requests a second, on average
  double burstiness = 1;  // shape of the gamma-distributed gaps: 1 is Poisson, below 1 clumps, above 1 is more even
  std::uint64_t seed = 1;
};

// Seconds from the start, ascending; the same for the same seed. The last one is at n / rate on average.
std::vector<double> arrival_times(std::size_t n, const ArrivalOptions& options);

// Seconds since the start of a run. sleep_until() returns at once if that time has passed. Thread-safe.
class LoadClock {
 public:
  virtual ~LoadClock() = default;
  virtual double now() = 0;
  virtual void sleep_until(double seconds) = 0;
};
class SteadyClock final : public LoadClock {
 public:
  SteadyClock();
  double now() override;
  void sleep_until(double seconds) override;

 private:
  std::int64_t start_ns_;
};

// What the system under test says of one request. Times in seconds on the run's clock.
struct RequestOutcome {
  bool ok = false;
  std::string error;
  double first_token = 0;                // when it came; 0: the answer has none
  std::size_t tokens = 0;                // written
  std::vector<double> pieces;            // when each piece of text came
  std::map<std::string, double> stages;  // milliseconds by stage, as the system itself reports them
};

struct RequestRecord : RequestOutcome {
  std::size_t index = 0;
  double due = 0, begun = 0, ended = 0;
};

// Must be thread-safe and must not throw.
using LoadTarget = std::function<RequestOutcome(std::size_t index, LoadClock& clock)>;
// Called with every record as it is complete, one at a time, on the thread that asked. Must not throw.
using OnRecord = std::function<void(const RequestRecord&)>;

// Open loop: request i is due at due[i]. `connections` requests can be under way; one that is due while all are taken begins late, and its
// lateness counts, because it is measured from when it was due: a system that stalls does not slow the load down (no coordinated omission).
// Records in order of index; fewer if stopped.
std::vector<RequestRecord> run_open_loop(const std::vector<double>& due, std::size_t connections, LoadClock& clock,
                                         const LoadTarget& target, std::stop_token stop = {}, const OnRecord& on_record = {});

// Closed loop: `clients` ask one request after the other, n in all. A request is due when it begins.
std::vector<RequestRecord> run_closed_loop(std::size_t n, std::size_t clients, LoadClock& clock, const LoadTarget& target,
                                           std::stop_token stop = {}, const OnRecord& on_record = {});

}  // namespace gritstone
