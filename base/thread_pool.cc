#include "base/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <chrono>

namespace gritstone {
namespace {

inline void pause_core() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// How long an idle worker polls before it sleeps. A decode step starts a loop every 10-100 us; waking a sleeper costs about 50 us.
constexpr auto kSpin = std::chrono::microseconds(200);

}  // namespace

std::size_t available_cores() noexcept {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof(set), &set) == 0) return static_cast<std::size_t>(std::max(1, CPU_COUNT(&set)));
  return std::max(1u, std::thread::hardware_concurrency());
}

ThreadPool::ThreadPool(std::size_t threads) {
  if (threads == 0) threads = available_cores();
  for (std::size_t i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard lock(mutex_);
    stop_.store(true);
    generation_.fetch_add(1);
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run(std::size_t count, void* context, Invoke invoke) {
  {
    std::lock_guard lock(mutex_);
    count_ = count;
    context_ = context;
    invoke_ = invoke;
    next_.store(0, std::memory_order_relaxed);
    busy_.store(workers_.size(), std::memory_order_relaxed);
    generation_.fetch_add(1, std::memory_order_release);
  }
  wake_.notify_all();
  drain(0);
  // Spin: the other threads are in their last index. Yield for machines with fewer cores than threads.
  for (unsigned spins = 0; busy_.load(std::memory_order_acquire) != 0; ++spins) {
    if (spins % 1024 == 1023) std::this_thread::yield();
    pause_core();
  }
}

void ThreadPool::drain(std::size_t thread) noexcept {
  for (;;) {
    const std::size_t index = next_.fetch_add(1, std::memory_order_relaxed);
    if (index >= count_) return;
    invoke_(context_, index, thread);
  }
}

void ThreadPool::work(std::size_t thread) {
  std::uint64_t seen = 0;
  for (;;) {
    const auto deadline = std::chrono::steady_clock::now() + kSpin;
    while (generation_.load(std::memory_order_acquire) == seen && std::chrono::steady_clock::now() < deadline) {
      for (int i = 0; i < 32; ++i) pause_core();
    }
    if (generation_.load(std::memory_order_acquire) == seen) {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return generation_.load(std::memory_order_acquire) != seen; });
    }
    seen = generation_.load(std::memory_order_acquire);
    if (stop_.load()) return;
    drain(thread);
    busy_.fetch_sub(1, std::memory_order_release);
  }
}

}  // namespace gritstone
