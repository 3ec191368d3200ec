#include "pipelines/machine_limits.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <vector>

#include "model/kernels/peak.h"

namespace gritstone {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Larger than the last-level cache of a laptop; a server whose caches hold it reports its cache.
constexpr std::size_t kBytes = std::size_t{256} << 20;
constexpr std::size_t kChunkWords = (std::size_t{1} << 20) / sizeof(std::uint64_t);

}  // namespace

double measure_read_bandwidth(ThreadPool& pool, std::size_t repeats) {
  const std::vector<std::uint64_t> buffer(kBytes / sizeof(std::uint64_t), 0x0101010101010101u);
  const std::size_t chunks = buffer.size() / kChunkWords;
  std::vector<std::uint64_t> sums(chunks);
  double best = 0;
  for (std::size_t r = 0; r < repeats; ++r) {
    const Clock::time_point start = Clock::now();
    pool.parallel_for(chunks, [&](std::size_t chunk, std::size_t) {
      const std::uint64_t* words = buffer.data() + chunk * kChunkWords;
      // Eight sums: one chain of additions would be slower than memory.
      std::uint64_t lanes[8] = {};
      for (std::size_t i = 0; i < kChunkWords; i += 8) {
        for (std::size_t lane = 0; lane < 8; ++lane) lanes[lane] += words[i + lane];
      }
      for (const std::uint64_t lane : lanes) sums[chunk] += lane;
    });
    best = std::max(best, static_cast<double>(kBytes) / seconds_since(start) / 1e9);
  }
  // The sums are a result, so that the loops are not removed.
  static std::atomic<std::uint64_t> sink{0};
  for (const std::uint64_t sum : sums) sink.fetch_add(sum, std::memory_order_relaxed);
  return best;
}

double measure_compute_peak(ThreadPool& pool, std::string_view isa, bool int8, std::size_t repeats) {
  constexpr std::uint64_t kRounds = 500000;  // some milliseconds
  const PeakKind kind = int8 ? PeakKind::kInt8 : PeakKind::kF32;
  double best = 0;
  for (std::size_t r = 0; r < repeats; ++r) {
    std::vector<std::uint64_t> done(pool.threads() * 4);
    const Clock::time_point start = Clock::now();
    pool.parallel_for(done.size(), [&](std::size_t i, std::size_t) { done[i] = run_peak(isa, kind, kRounds); });
    const double seconds = seconds_since(start);
    std::uint64_t total = 0;
    for (const std::uint64_t macs : done) total += macs;
    best = std::max(best, static_cast<double>(total) / seconds / 1e9);
  }
  return best;
}

}  // namespace gritstone
