// A fixed number of threads and a bounded line in front of them.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace gritstone {

// Thread-safe. Tasks start in the order they came and must not throw.
class WorkQueue {
 public:
  // limit: tasks that may wait while all threads are busy.
  WorkQueue(std::size_t threads, std::size_t limit);
  ~WorkQueue();  // as stop()

  // False: the line is full (or the queue has stopped), nothing was kept.
  bool submit(std::uint64_t id, std::function<void()> task);
  // Takes a waiting task out of the line; false if it has started or is unknown. Then it will never run.
  bool cancel(std::uint64_t id);

  std::size_t waiting() const;
  std::size_t busy() const;
  // Seconds until a task that comes now would start, guessed from how long tasks took; at least 1.
  int retry_after_seconds() const;
  // Drops what waits, lets running tasks end, joins the threads.
  void stop();

 private:
  struct Task {
    std::uint64_t id;
    std::function<void()> run;
  };
  void work();

  const std::size_t limit_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Task> line_;
  std::size_t busy_ = 0;
  double mean_seconds_ = 1;  // exponential moving average
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace gritstone
