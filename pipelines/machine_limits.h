// Measures what the machine can do at most: memory bandwidth and multiply-accumulates.
#pragma once

#include <cstddef>
#include <string_view>

#include "base/thread_pool.h"

namespace gritstone {

// Bytes read per second / 1e9, best of `repeats` passes over 256 MiB.
double measure_read_bandwidth(ThreadPool& pool, std::size_t repeats);
// Multiply-accumulates per second / 1e9 over all threads, best of `repeats`; int8: products of the integer kernels.
double measure_compute_peak(ThreadPool& pool, std::string_view isa, bool int8, std::size_t repeats);

}  // namespace gritstone
