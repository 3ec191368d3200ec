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

constexpr std::uint64_t kOpen = std::uint64_t{1} << 31;
constexpr std::uint64_t kInside = kOpen - 1;

constexpr std::uint64_t generation(std::uint64_t gate) { return gate >> 32; }

// How long an idle worker polls before it sleeps. A decode step starts a loop every 10-100 us; waking a sleeper costs about 50 us.
constexpr auto kSpin = std::chrono::microseconds(200);
// From here on a poller gives its core to whoever wants it: with a thread on every core, the threads that carry a token to the client
// would otherwise wait for the end of a time slice, milliseconds. Loops that follow each other start sooner than this.
constexpr auto kYield = std::chrono::microseconds(20);

}  // namespace

std::size_t available_cores() noexcept {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof(set), &set) == 0) return static_cast<std::size_t>(std::max(1, CPU_COUNT(&set)));
  return std::max(1u, std::thread::hardware_concurrency());
}

ThreadPool::ThreadPool(std::size_t threads) : shares_(threads == 0 ? available_cores() : threads) {
  for (std::size_t i = 1; i < shares_.size(); ++i) workers_.emplace_back([this, i] { work(i); });
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard lock(mutex_);
    stop_.store(true);
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run(std::size_t count, void* context, Invoke invoke) {
  for (std::size_t t = 0; t < shares_.size(); ++t) {
    shares_[t].next.store(count * t / shares_.size(), std::memory_order_relaxed);
    shares_[t].end = count * (t + 1) / shares_.size();
  }
  context_ = context;
  invoke_ = invoke;
  gate_.store((generation(gate_.load()) + 1) << 32 | kOpen);
  // Either this sees the sleeper or the sleeper sees the new gate: both orders are sequentially consistent.
  if (sleepers_.load() > 0) {
    std::lock_guard lock(mutex_);
    wake_.notify_all();
  }
  drain(0);
  std::uint64_t gate = gate_.fetch_and(~kOpen) & ~kOpen;
  // Those inside are in their last index. Yield for machines with fewer free cores than threads.
  for (unsigned spins = 0; (gate & kInside) != 0; ++spins) {
    if (spins % 1024 == 1023) std::this_thread::yield();
    pause_core();
    gate = gate_.load(std::memory_order_acquire);
  }
}

void ThreadPool::drain(std::size_t thread) noexcept {
  for (std::size_t i = 0; i < shares_.size(); ++i) {
    Share& share = shares_[(thread + i) % shares_.size()];
    for (;;) {
      const std::size_t index = share.next.fetch_add(1, std::memory_order_relaxed);
      if (index >= share.end) break;
      invoke_(context_, index, thread);
    }
  }
}

// Joins the loop if one is open that this worker has not seen.
bool ThreadPool::enter(std::uint64_t& seen) noexcept {
  std::uint64_t gate = gate_.load(std::memory_order_acquire);
  while ((gate & kOpen) != 0 && generation(gate) != seen) {
    if (gate_.compare_exchange_weak(gate, gate + 1, std::memory_order_acq_rel, std::memory_order_acquire)) {
      seen = generation(gate);
      return true;
    }
  }
  return false;
}

void ThreadPool::work(std::size_t thread) {
  std::uint64_t seen = 0;
  auto idle_since = std::chrono::steady_clock::now();
  while (!stop_.load(std::memory_order_relaxed)) {
    if (enter(seen)) {
      drain(thread);
      gate_.fetch_sub(1, std::memory_order_release);
      idle_since = std::chrono::steady_clock::now();
      continue;
    }
    for (int i = 0; i < 32; ++i) pause_core();
    const auto idle = std::chrono::steady_clock::now() - idle_since;
    if (idle < kSpin) {
      if (idle > kYield) std::this_thread::yield();
      continue;
    }
    std::unique_lock lock(mutex_);
    sleepers_.fetch_add(1);
    wake_.wait(lock, [&] {
      const std::uint64_t gate = gate_.load();
      return stop_.load() || ((gate & kOpen) != 0 && generation(gate) != seen);
    });
    sleepers_.fetch_sub(1);
    idle_since = std::chrono::steady_clock::now();
  }
}

}  // namespace gritstone
