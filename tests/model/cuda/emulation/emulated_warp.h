// Barriers and warp intrinsics.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "emulated_block.h"

// Calls carry the place of the call into error messages.
#define GS_EMULATED_PLACE const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(GS_EMULATED_PLACE) { emulation::meet_block(false, file, line); }
inline int __syncthreads_count(int predicate, GS_EMULATED_PLACE) { return emulation::meet_block(predicate != 0, file, line); }
inline int __syncthreads_or(int predicate, GS_EMULATED_PLACE) { return emulation::meet_block(predicate != 0, file, line) != 0; }
inline int __syncthreads_and(int predicate, GS_EMULATED_PLACE) { return emulation::meet_block(predicate == 0, file, line) == 0; }
inline void __syncwarp(unsigned mask = 0xFFFFFFFFu, GS_EMULATED_PLACE) {
  emulation::meet_warp(emulation::Instruction::kSyncWarp, mask, "", 1, file, line);
}

// The four shuffles as PTX defines them: `width` cuts the warp into segments; a source outside of the lane's segment gives its own value.
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, GS_EMULATED_PLACE) {
  static_assert(sizeof(T) >= 4 || !std::is_integral_v<T>);
  const auto& met = emulation::meet_warp(emulation::Instruction::kShuffle, mask, &value, sizeof(T), file, line);
  const int lane = static_cast<int>(emulation::lane_index());
  return met.template lane<T>(static_cast<unsigned>((lane & ~(width - 1)) | (source & (width - 1))));
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, GS_EMULATED_PLACE) {
  const auto& met = emulation::meet_warp(emulation::Instruction::kShuffleXor, mask, &value, sizeof(T), file, line);
  const int lane = static_cast<int>(emulation::lane_index());
  const int last = lane | (width - 1), source = lane ^ bits;
  return met.template lane<T>(static_cast<unsigned>(source <= last ? source : lane));
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, GS_EMULATED_PLACE) {
  const auto& met = emulation::meet_warp(emulation::Instruction::kShuffleDown, mask, &value, sizeof(T), file, line);
  const int lane = static_cast<int>(emulation::lane_index());
  const int last = lane | (width - 1), source = lane + static_cast<int>(delta);
  return met.template lane<T>(static_cast<unsigned>(source <= last ? source : lane));
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, GS_EMULATED_PLACE) {
  const auto& met = emulation::meet_warp(emulation::Instruction::kShuffleUp, mask, &value, sizeof(T), file, line);
  const int lane = static_cast<int>(emulation::lane_index());
  const int first = lane & ~(width - 1), source = lane - static_cast<int>(delta);
  return met.template lane<T>(static_cast<unsigned>(source >= first ? source : lane));
}

inline unsigned __ballot_sync(unsigned mask, int predicate, GS_EMULATED_PLACE) {
  const int bit = predicate != 0;
  const auto& met = emulation::meet_warp(emulation::Instruction::kBallot, mask, &bit, sizeof(bit), file, line);
  unsigned bits = 0;
  for (unsigned lane = 0; lane < 32; ++lane) bits |= static_cast<unsigned>(met.lane<int>(lane)) << lane;
  return bits;
}
inline int __any_sync(unsigned mask, int predicate, GS_EMULATED_PLACE) { return __ballot_sync(mask, predicate, file, line) != 0; }
inline int __all_sync(unsigned mask, int predicate, GS_EMULATED_PLACE) { return __ballot_sync(mask, predicate, file, line) == mask; }

template <class T>
unsigned __match_any_sync(unsigned mask, T value, GS_EMULATED_PLACE) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  const auto& met = emulation::meet_warp(emulation::Instruction::kMatch, mask, &value, sizeof(T), file, line);
  unsigned bits = 0;
  for (unsigned lane = 0; lane < 32; ++lane) bits |= (met.template lane<T>(lane) == value ? 1u : 0u) << lane;
  return bits;
}

namespace emulation {
template <class T, class Combine>
T reduce_warp(unsigned mask, T value, const char* file, int line, const Combine& combine) {
  static_assert(std::is_integral_v<T> && sizeof(T) == 4);
  const Exchange& met = meet_warp(Instruction::kReduce, mask, &value, sizeof(T), file, line);
  T all = met.lane<T>(0);
  for (unsigned lane = 1; lane < 32; ++lane) all = combine(all, met.lane<T>(lane));
  return all;
}
}  // namespace emulation
template <class T>
T __reduce_add_sync(unsigned mask, T value, GS_EMULATED_PLACE) {
  return emulation::reduce_warp(mask, value, file, line,
                                [](T a, T b) { return static_cast<T>(static_cast<unsigned>(a) + static_cast<unsigned>(b)); });
}
template <class T>
T __reduce_max_sync(unsigned mask, T value, GS_EMULATED_PLACE) {
  return emulation::reduce_warp(mask, value, file, line, [](T a, T b) { return a > b ? a : b; });
}
template <class T>
T __reduce_min_sync(unsigned mask, T value, GS_EMULATED_PLACE) {
  return emulation::reduce_warp(mask, value, file, line, [](T a, T b) { return a < b ? a : b; });
}
