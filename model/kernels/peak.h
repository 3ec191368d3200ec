// What this machine's arithmetic units can do at most: the limit that measured speeds are compared with.
#pragma once

#include <cstdint>
#include <string_view>

namespace gritstone {

enum class PeakKind { kF32, kInt8 };

// Runs `rounds` rounds of independent multiply-accumulates that never leave registers, on the calling thread, with the instructions that
// the ISA's kernels use (avx512: FMA, VNNI; avx2: FMA, maddubs + madd). Returns the number of multiply-accumulates done.
// An unknown ISA counts as scalar. REQUIRES: the CPU has the ISA.
std::uint64_t run_peak(std::string_view isa, PeakKind kind, std::uint64_t rounds) noexcept;

}  // namespace gritstone
