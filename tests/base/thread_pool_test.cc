#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <thread>
#include <vector>

namespace gritstone {
namespace {

class ThreadPoolSizes : public testing::TestWithParam<std::size_t> {};

TEST_P(ThreadPoolSizes, EveryIndexRunsOnce) {
  ThreadPool pool(GetParam());
  ASSERT_EQ(pool.threads(), GetParam());
  for (const std::size_t count : {0, 1, 2, 7, 100, 4097}) {
    std::vector<int> runs(count, 0);
    std::atomic<bool> thread_in_range{true};
    pool.parallel_for(count, [&](std::size_t index, std::size_t thread) {
      ++runs[index];
      if (thread >= pool.threads()) thread_in_range = false;
    });
    for (std::size_t i = 0; i < count; ++i) ASSERT_EQ(runs[i], 1) << i << " of " << count;
    EXPECT_TRUE(thread_in_range);
  }
}

// A decode step is hundreds of small loops in a row: none may lose an index or see the previous loop's body.
TEST_P(ThreadPoolSizes, ManySmallLoops) {
  ThreadPool pool(GetParam());
  std::vector<std::size_t> sums(5, 0);
  for (std::size_t loop = 1; loop <= 500; ++loop) {
    pool.parallel_for(sums.size(), [&](std::size_t index, std::size_t) { sums[index] += loop * (index + 1); });
  }
  for (std::size_t i = 0; i < sums.size(); ++i) EXPECT_EQ(sums[i], 500u * 501u / 2 * (i + 1));
}

// Scratch memory goes by thread number, so two indexes at once must never share one.
TEST_P(ThreadPoolSizes, AThreadNumberIsInUseOnce) {
  ThreadPool pool(GetParam());
  std::vector<std::atomic<int>> in_use(pool.threads());
  std::atomic<bool> shared{false};
  pool.parallel_for(500, [&](std::size_t, std::size_t thread) {
    if (in_use[thread].fetch_add(1) != 0) shared = true;
    std::this_thread::yield();
    in_use[thread].fetch_sub(1);
  });
  EXPECT_FALSE(shared);
}

INSTANTIATE_TEST_SUITE_P(Threads, ThreadPoolSizes, testing::Values(1, 2, 3, 16));

// What a thread reads lies one behind the other: first its own half in order, then what the other left.
TEST(ThreadPool, AThreadTakesItsOwnShareFirst) {
  constexpr std::size_t kCount = 100, kHalf = kCount / 2;
  ThreadPool pool(2);
  std::vector<std::size_t> taken[2];
  std::atomic<bool> second_half_began{false};
  pool.parallel_for(kCount, [&](std::size_t index, std::size_t thread) {
    taken[thread].push_back(index);
    if (index == kHalf) second_half_began = true;
    while (index == 0 && !second_half_began) std::this_thread::yield();  // both threads take part
  });
  for (std::size_t thread = 0; thread < 2; ++thread) {
    const std::size_t begin = thread * kHalf;
    const auto own = [&](std::size_t index) { return index - begin < kHalf; };
    ASSERT_FALSE(taken[thread].empty());
    EXPECT_EQ(taken[thread].front(), begin);
    EXPECT_TRUE(std::is_partitioned(taken[thread].begin(), taken[thread].end(), own));
    const auto others = std::partition_point(taken[thread].begin(), taken[thread].end(), own);
    EXPECT_TRUE(std::is_sorted(taken[thread].begin(), others));
  }
}

TEST(ThreadPool, WorkersWakeAfterSleeping) {
  ThreadPool pool(3);
  std::atomic<int> runs{0};
  for (int i = 0; i < 3; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // longer than a worker spins
    pool.parallel_for(64, [&](std::size_t, std::size_t) { ++runs; });
  }
  EXPECT_EQ(runs, 3 * 64);
}

TEST(ThreadPool, StartsAndStopsWithoutWork) {
  for (int i = 0; i < 50; ++i) ThreadPool pool(4);
}

TEST(ThreadPool, ZeroMeansTheCoresOfThisProcess) {
  ThreadPool pool(0);
  EXPECT_EQ(pool.threads(), available_cores());
  EXPECT_GE(available_cores(), 1u);
}

}  // namespace
}  // namespace gritstone
