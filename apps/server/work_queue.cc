#include "apps/server/work_queue.h"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace gritstone {

WorkQueue::WorkQueue(std::size_t threads, std::size_t limit) : limit_(limit) {
  for (std::size_t i = 0; i < std::max<std::size_t>(threads, 1); ++i) threads_.emplace_back([this] { work(); });
}

WorkQueue::~WorkQueue() { stop(); }

bool WorkQueue::submit(std::uint64_t id, std::function<void()> task) {
  {
    const std::lock_guard lock(mutex_);
    // A thread that is about to take a task is not busy yet.
    const std::size_t free = threads_.size() - std::min(busy_, threads_.size());
    if (stopping_ || line_.size() >= limit_ + free) return false;
    line_.push_back({id, std::move(task)});
  }
  wake_.notify_one();
  return true;
}

bool WorkQueue::cancel(std::uint64_t id) {
  std::function<void()> dropped;  // destroyed outside the lock
  const std::lock_guard lock(mutex_);
  const auto found = std::find_if(line_.begin(), line_.end(), [&](const Task& task) { return task.id == id; });
  if (found == line_.end()) return false;
  dropped = std::move(found->run);
  line_.erase(found);
  return true;
}

std::size_t WorkQueue::waiting() const {
  const std::lock_guard lock(mutex_);
  return line_.size();
}

std::size_t WorkQueue::busy() const {
  const std::lock_guard lock(mutex_);
  return busy_;
}

int WorkQueue::retry_after_seconds() const {
  const std::lock_guard lock(mutex_);
  const double seconds = mean_seconds_ * static_cast<double>(line_.size() + 1) / static_cast<double>(threads_.size());
  return static_cast<int>(std::clamp(std::ceil(seconds), 1.0, 60.0));
}

void WorkQueue::stop() {
  std::deque<Task> dropped;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    dropped.swap(line_);
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

void WorkQueue::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [&] { return stopping_ || !line_.empty(); });
    if (line_.empty()) return;
    Task task = std::move(line_.front());
    line_.pop_front();
    ++busy_;
    lock.unlock();
    const auto start = std::chrono::steady_clock::now();
    task.run();
    task.run = nullptr;  // what it holds goes before the thread counts as free
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    lock.lock();
    --busy_;
    mean_seconds_ += 0.1 * (seconds - mean_seconds_);
  }
}

}  // namespace gritstone
