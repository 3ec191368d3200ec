// What it costs on this machine to load a span and to compute it again, from what was seen so far.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <mutex>

namespace gritstone {

// Rates; 0: not seen yet.
struct SpanRates {
  double tokens_per_second = 0;      // computed
  double disk_bytes_per_second = 0;  // mapped and verified
  double ram_bytes_per_second = 0;   // into the live cache
};

// Thread-safe.
class SpanCosts {
 public:
  // file: of one model on one machine; read now, rewritten when a rate is first seen or has changed by a quarter. Empty, unreadable or
  // unwritable: the rates live as long as the object.
  explicit SpanCosts(std::filesystem::path file = {});

  // Samples too small to say anything (under 16 tokens, under 64 KiB) are ignored; of the others the latest counts a quarter.
  void saw_compute(std::size_t tokens, double seconds);
  void saw_disk(std::uint64_t bytes, double seconds);
  void saw_ram(std::uint64_t bytes, double seconds);

  // Whether loading is expected to be no slower than computing; true while a rate it needs was never seen.
  bool disk_pays(std::size_t tokens, std::uint64_t bytes) const;
  bool ram_pays(std::size_t tokens, std::uint64_t bytes) const;

  SpanRates rates() const;

 private:
  void saw(double SpanRates::*rate, double value);

  const std::filesystem::path file_;
  mutable std::mutex mutex_;
  SpanRates rates_, saved_;
};

}  // namespace gritstone
