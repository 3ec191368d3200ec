// Fork-join threads for the kernels: one parallel loop at a time, microseconds to start.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace gritstone {

// Runs loops on `threads` threads, the caller being one of them. A loop is started from one thread at a time (the engine's).
// Which thread runs which index is not fixed, so an index must write only what belongs to it; then results do not depend on the count.
class ThreadPool {
 public:
  // threads >= 1; 0 = the cores this process may use.
  explicit ThreadPool(std::size_t threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  std::size_t threads() const noexcept { return workers_.size() + 1; }

  // Calls body(index, thread) for every index in [0, count), thread in [0, threads()): scratch memory goes by `thread`. Returns when all
  // are done. body must not throw.
  template <typename Body>
  void parallel_for(std::size_t count, Body&& body) {
    if (count == 0) return;
    if (workers_.empty() || count == 1) {
      for (std::size_t i = 0; i < count; ++i) body(i, std::size_t{0});
      return;
    }
    run(count, &body, [](void* context, std::size_t index, std::size_t thread) {
      (*static_cast<std::remove_reference_t<Body>*>(context))(index, thread);
    });
  }

 private:
  using Invoke = void (*)(void* context, std::size_t index, std::size_t thread);
  void run(std::size_t count, void* context, Invoke invoke);
  void work(std::size_t thread);
  void drain(std::size_t thread) noexcept;
  bool enter(std::uint64_t& seen) noexcept;

  // A thread takes the indices of its own share in order, so that loops over memory read on where they stopped, then what is left of the
  // others' shares. A cache line each: every index that is taken writes it.
  struct alignas(64) Share {
    std::atomic<std::size_t> next{0};
    std::size_t end = 0;
  };

  std::vector<std::thread> workers_;
  // The running loop: generation << 32 | open << 31 | workers inside. A worker takes part only if it enters while the loop is open, so the
  // caller never waits for a worker that the system has not scheduled.
  std::atomic<std::uint64_t> gate_{0};
  std::atomic<bool> stop_{false};
  // Set before the gate opens; workers inside take from shares_ and read the rest.
  std::vector<Share> shares_;  // by thread
  void* context_ = nullptr;
  Invoke invoke_ = nullptr;

  std::atomic<std::size_t> sleepers_{0};
  std::mutex mutex_;
  std::condition_variable wake_;
};

// Cores this process may run on (its affinity mask), at least 1.
std::size_t available_cores() noexcept;

}  // namespace gritstone
