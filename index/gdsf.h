// Greedy-Dual-Size-Frequency (Cherkasova 1998): what is worth keeping in a cache whose entries differ in size and in cost.
#pragma once

#include <cstdint>

namespace gritstone {

// Priority of an entry; the lowest goes first. `clock` is the priority of the last evicted entry, so that what was popular long ago ages
// against what is used now.
//   frequency  uses so far, at least 1     cost_seconds  of computing it again     bytes  its size
inline double gdsf_priority(double clock, std::uint64_t frequency, double cost_seconds, std::uint64_t bytes) noexcept {
  // Per MiB, so that priorities are of the order of a second.
  return clock + static_cast<double>(frequency) * cost_seconds / (static_cast<double>(bytes == 0 ? 1 : bytes) / (1 << 20));
}

}  // namespace gritstone
