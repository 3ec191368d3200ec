// The weights' way into the shared memory of the tile kernel (gemm_tile.cuh). bf16 is copied in the background; integer codes are loaded
// into registers some steps ahead and become f16 when they are stored.
#pragma once

#include "model/kernels/cuda/ops.h"
#include "model/kernels/cuda/warp.cuh"

namespace gritstone::cuda {

inline constexpr std::uint32_t kDepth = 64;           // columns of a step
inline constexpr std::uint32_t kChunks = kDepth / 8;  // of 16 bytes in a step's row
inline constexpr int kParts = 3;                      // a step's loads are issued in so many parts, between its products

// Byte of a chunk in a stage: the eight rows that ldmatrix reads at once lie in different banks.
__device__ inline std::uint32_t place_of(std::uint32_t row, std::uint32_t chunk) { return row * kDepth * 2 + ((chunk ^ (row % 8)) * 16); }

// Whether item i of `count` is in a part.
__device__ constexpr bool in_part(int i, int count, int part) { return i * kParts / count == part; }

// Rows [output, output + Tile::kOutputs) of an expert's weights. What is read for rows past the last, any values of the matrix, makes sums
// that are not stored; codes past the last column meet zeros of x. Registers are short: what all threads share stays in the kernel's
// arguments, and a thread's place in the matrix is one 32-bit count of 16 bytes (64 GiB). Slot s of kAhead holds the codes of a step.
template <class Tile, WeightFormat kFormat>
class TileWeights {
 public:
  static constexpr HalfType kType = HalfType::kF16;
  static constexpr int kAhead = kFormat == WeightFormat::kInt4 ? Tile::kInt4Ahead : Tile::kInt8Ahead;

  __device__ TileWeights(const DeviceMatrix& w, std::uint32_t expert, std::uint32_t output)
      : w_(w), next_((expert * w.rows + output + own_row()) * in_row() + own_unit()) {}

  __device__ void copy(unsigned char*, std::uint32_t, int) const {}

  // The next step's codes go into a slot.
  __device__ void load(int slot) {
#pragma unroll
    for (int i = 0; i < kUnits; ++i) load_unit(slot, i);
    next_ += kUnitsInRow;
  }
  // A part of: the slot's codes go to a stage, the next step's into the slot.
  __device__ void convert(unsigned char* stage, int slot, int part) {
#pragma unroll
    for (int item = 0; item < kUnits * kSixteens; ++item) {
      if (!in_part(item, kUnits * kSixteens, part)) continue;
      const int i = item / kSixteens, sixteen = item % kSixteens;
      store_sixteen(stage, own_row() + i * kRowsApart, ahead_[slot][i], sixteen);
      if (sixteen == kSixteens - 1) load_unit(slot, i);
    }
    if (part == kParts - 1) next_ += kUnitsInRow;
  }

 private:
  static constexpr bool kInt4 = kFormat == WeightFormat::kInt4;
  static constexpr std::uint32_t kUnitColumns = kInt4 ? 32 : 16;  // whose codes are 16 bytes
  static constexpr std::uint32_t kUnitsInRow = kDepth / kUnitColumns;
  static constexpr std::uint32_t kRowsApart = Tile::kThreads / kUnitsInRow;
  static constexpr int kUnits = Tile::kOutputs / kRowsApart;
  static constexpr int kSixteens = kUnitColumns / 16;
  static_assert(Tile::kOutputs % kRowsApart == 0);

  // The thread's unit in every row of a step, its first row in the tile, units in a row of the matrix.
  __device__ static std::uint32_t own_unit() { return threadIdx.x % kUnitsInRow; }
  __device__ static std::uint32_t own_row() { return threadIdx.x / kUnitsInRow; }
  __device__ std::uint32_t in_row() const { return w_.cols / kUnitColumns; }

  struct Unit {
    uint4 codes;
    __half2 pairs[kSixteens];
  };

  __device__ void load_unit(int slot, int i) {
    Unit& unit = ahead_[slot][i];
    const std::uint32_t index = min(next_ + i * kRowsApart * in_row(), w_.experts * w_.rows * in_row() - 1);
    unit.codes = __ldg(static_cast<const uint4*>(w_.values) + index);
    const __half2* pair = w_.pairs + (index * kSixteens >> (w_.group == 32 ? 1 : 0));
    unit.pairs[0] = __ldg(pair);
    if constexpr (kSixteens == 2) {
      unit.pairs[1] = unit.pairs[0];
      if (w_.group == 16) unit.pairs[1] = __ldg(pair + 1);
    }
  }

  // A code becomes f16 by one byte permutation: as the low byte of 1024.0 it is 1024 + code. Taking 1024 off again (1152 where codes got
  // 128 added) is exact, and the value is rounded once.
  struct Line {
    __half2 scale, least;

    __device__ explicit Line(__half2 pair) : scale(__low2half2(pair)), least(__high2half2(pair)) {}
    __device__ std::uint32_t two_values(std::uint32_t codes, unsigned selector) const {
      const std::uint32_t shifted = __byte_perm(codes, 0x64646464u, selector);
      __half2 pair;
      memcpy(&pair, &shifted, sizeof(pair));
      pair = __hfma2(__hsub2(pair, __float2half2_rn(kInt4 ? 1024.0f : 1152.0f)), scale, least);
      std::uint32_t word;
      memcpy(&word, &pair, sizeof(word));
      return word;
    }
    // Eight columns: a byte each.
    __device__ uint4 values(std::uint32_t first, std::uint32_t second) const {
      return make_uint4(two_values(first, 0x4140u), two_values(first, 0x4342u), two_values(second, 0x4140u), two_values(second, 0x4342u));
    }
  };

  __device__ static void store_sixteen(unsigned char* stage, std::uint32_t row, const Unit& unit, int sixteen) {
    const Line line(unit.pairs[sixteen]);
    const auto bytes = [&](std::uint32_t codes) { return kInt4 ? codes >> (4 * sixteen) & 0x0F0F0F0Fu : codes ^ 0x80808080u; };
    const std::uint32_t chunk = (own_unit() * kSixteens + sixteen) * 2;
    *reinterpret_cast<uint4*>(stage + place_of(row, chunk)) = line.values(bytes(unit.codes.x), bytes(unit.codes.y));
    *reinterpret_cast<uint4*>(stage + place_of(row, chunk + 1)) = line.values(bytes(unit.codes.z), bytes(unit.codes.w));
  }

  const DeviceMatrix& w_;
  std::uint32_t next_;  // the thread's first unit of the step that is loaded next
  Unit ahead_[kAhead][kUnits];
};

template <class Tile>
class TileWeights<Tile, WeightFormat::kBF16> {
 public:
  static constexpr HalfType kType = HalfType::kBF16;
  static constexpr int kAhead = 0;

  __device__ TileWeights(const DeviceMatrix& w, std::uint32_t expert, std::uint32_t output)
      : w_(w), next_((expert * w.rows + output + threadIdx.x / kChunks) * in_row() + threadIdx.x % kChunks) {}

  // Starts a part of the copies of a step; steps come in ascending order.
  __device__ void copy(unsigned char* stage, std::uint32_t step, int part) {
    const bool valid = step * kChunks + threadIdx.x % kChunks < in_row();
    unsigned char* to = stage + place_of(threadIdx.x / kChunks, threadIdx.x % kChunks);
#pragma unroll
    for (int i = 0; i < kCopies; ++i) {
      if (!in_part(i, kCopies, part)) continue;
      const std::uint32_t chunk = min(next_ + i * kRowsApart * in_row(), w_.experts * w_.rows * in_row() - 1);
      copy_async(to + i * kRowsApart * kDepth * 2, static_cast<const uint4*>(w_.values) + chunk, valid);
    }
    if (part == kParts - 1) next_ += kChunks;
  }
  __device__ void load(int) const {}
  __device__ void convert(unsigned char*, int, int) const {}

 private:
  static constexpr std::uint32_t kRowsApart = Tile::kThreads / kChunks;
  static constexpr int kCopies = Tile::kOutputs / kRowsApart;
  static_assert(Tile::kOutputs % kRowsApart == 0 && kRowsApart % 8 == 0);

  __device__ std::uint32_t in_row() const { return w_.cols / 8; }

  const DeviceMatrix& w_;
  std::uint32_t next_;  // the thread's first chunk of the step that is copied next
};

}  // namespace gritstone::cuda
