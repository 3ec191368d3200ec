// What becomes of the sums of the tile kernel (gemm_tile.cuh). Lanes first trade values within their row of a fragment, so that each writes
// eight bytes and a row gets whole sectors of 32.
#pragma once

#include "model/kernels/cuda/ops.h"
#include "model/kernels/cuda/warp.cuh"

namespace gritstone::cuda {

enum class Epilogue : std::uint8_t { kF32, kHalf, kSwiGlu };

// Rows of an output of `width` columns; a warp's part begins at its row and column. add: to what is there (f32 only). type: of two-byte
// values.
struct TileOutput {
  void* y;
  std::uint32_t width;
  bool add;
  HalfType type;
};

__device__ inline float swiglu(float gate, float up) { return __fdividef(gate, 1.0f + __expf(-gate)) * up; }

__device__ inline void write_pair(const TileOutput& out, std::size_t row, std::uint32_t column, float2 values) {
  float* to = static_cast<float*>(out.y) + row * out.width + column;
  if (out.width % 2 == 0) {
    if (column >= out.width) return;
    float2* pair = reinterpret_cast<float2*>(to);
    if (out.add) {
      const float2 before = *pair;
      values = make_float2(before.x + values.x, before.y + values.y);
    }
    *pair = values;
    return;
  }
  if (column < out.width) to[0] = out.add ? to[0] + values.x : values.x;
  if (column + 1 < out.width) to[1] = out.add ? to[1] + values.y : values.y;
}

// Four two-byte values.
__device__ inline void write_four(const TileOutput& out, std::size_t row, std::uint32_t column, uint2 words) {
  half_bits* to = static_cast<half_bits*>(out.y) + row * out.width + column;
  if (out.width % 4 == 0) {
    if (column < out.width) *reinterpret_cast<uint2*>(to) = words;
    return;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (column + i < out.width) to[i] = static_cast<half_bits>((i < 2 ? words.x : words.y) >> 16 * (i % 2));
  }
}

// Lanes that differ in `bit` trade: each keeps one of its two values, the lower lane the first, and gets the other's of the same index.
template <class T>
__device__ T traded(T first, T second, unsigned bit) {
  return __shfl_xor_sync(kAllLanes, (threadIdx.x & bit) != 0 ? first : second, bit);
}

// The warp's sums: sums[i][j] is the fragment of rows 16 i and columns 8 j on. Lane l has columns 2 (l % 4) and one more of rows l / 4 and
// l / 4 + 8. Rows [row, row + rows) of the output are the tile's; `column` counts the sums', of which SwiGLU makes half as many.
template <Epilogue kEpilogue, int kFragmentRows, int kFragmentColumns>
__device__ void write_sums(const TileOutput& out, std::size_t row, std::int32_t rows, std::uint32_t column,
                           const float (&sums)[kFragmentRows][kFragmentColumns][4]) {
  const std::uint32_t lane = threadIdx.x % kWarp, quad = lane % 4;
  const bool odd = (quad & 1) != 0, upper = (quad & 2) != 0;
#pragma unroll
  for (int i = 0; i < kFragmentRows; ++i) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const std::int32_t r = static_cast<std::int32_t>(lane / 4) + 16 * i + 8 * half;
      const bool valid = r < rows;
      if constexpr (kEpilogue == Epilogue::kF32) {
#pragma unroll
        for (int j = 0; j < kFragmentColumns; ++j) {
          const float2 values = make_float2(sums[i][j][2 * half], sums[i][j][2 * half + 1]);
          if (valid) write_pair(out, row + r, column + j * 8 + quad * 2, values);
        }
      } else if constexpr (kEpilogue == Epilogue::kHalf) {
        static_assert(kFragmentColumns % 2 == 0);
#pragma unroll
        for (int j = 0; j < kFragmentColumns; j += 2) {
          const std::uint32_t first = pack_half(sums[i][j][2 * half], sums[i][j][2 * half + 1], out.type);
          const std::uint32_t second = pack_half(sums[i][j + 1][2 * half], sums[i][j + 1][2 * half + 1], out.type);
          const std::uint32_t other = traded(first, second, 1);
          const uint2 words = odd ? make_uint2(other, second) : make_uint2(first, other);
          if (valid) write_four(out, row + r, column + j * 8 + (odd ? 8 : 0) + (upper ? 4 : 0), words);
        }
      } else {
        static_assert(kFragmentColumns % 4 == 0);
#pragma unroll
        for (int j = 0; j < kFragmentColumns; j += 4) {
          std::uint32_t words[2];
#pragma unroll
          for (int k = 0; k < 2; ++k) {
            const float* gate_up = sums[i][j + 2 * k];
            const float* next = sums[i][j + 2 * k + 1];
            const float first = swiglu(gate_up[2 * half], gate_up[2 * half + 1]), second = swiglu(next[2 * half], next[2 * half + 1]);
            const float other = traded(first, second, 1);
            words[k] = odd ? pack_half(other, second, out.type) : pack_half(first, other, out.type);
          }
          const std::uint32_t other = traded(words[0], words[1], 2);
          const uint2 four = upper ? make_uint2(other, words[1]) : make_uint2(words[0], other);
          if (valid) write_four(out, row + r, column / 2 + j * 4 + quad * 4, four);
        }
      }
    }
  }
}

// Shared memory of a warp for write_sums_by_rows.
inline constexpr std::uint32_t kResultBytes = 16 * 160;

// The same for a warp with 16 rows of 256 columns, by way of shared memory: 128 bytes of a row at a time, so that an instruction of the
// warp writes to four lines instead of eight. A tile's results take half the time (f32: 64 x 256 of them for each warpgroup were 4,096
// cycles).
template <Epilogue kEpilogue>
__device__ void write_sums_by_rows(const TileOutput& out, std::size_t row, std::int32_t rows, std::uint32_t column,
                                   const float (&sums)[32][4], unsigned char* results) {
  constexpr bool kWide = kEpilogue == Epilogue::kF32, kHalved = kEpilogue == Epilogue::kSwiGlu;
  constexpr std::uint32_t kBytes = kWide ? 4 : 2, kPiece = 16 / kBytes, kChunk = 128 / kBytes;  // columns of 16 bytes and of a chunk
  constexpr std::uint32_t kFragments = kChunk * (kHalved ? 2 : 1) / 8;
  // Bytes of a row: what the lanes write at once (eight rows by four columns, or by two words) lies in different banks.
  constexpr std::uint32_t kRow = kWide ? 160 : 144;
  if (out.width % kPiece != 0) return write_sums<kEpilogue>(out, row, rows, column, reinterpret_cast<const float(&)[1][32][4]>(sums));
  const std::uint32_t lane = threadIdx.x % kWarp, quad = lane % 4;
  const std::uint32_t first_column = kHalved ? column / 2 : column;
#pragma unroll
  for (std::uint32_t chunk = 0; chunk < 32 / kFragments; ++chunk) {
#pragma unroll
    for (std::uint32_t j = 0; j < kFragments; ++j) {
#pragma unroll
      for (std::uint32_t half = 0; half < 2; ++half) {
        const float* pair = sums[chunk * kFragments + j] + 2 * half;
        unsigned char* to = results + (lane / 4 + 8 * half) * kRow;
        if constexpr (kWide) {
          *reinterpret_cast<float2*>(to + j * 32 + quad * 8) = make_float2(pair[0], pair[1]);
        } else if constexpr (kHalved) {
          *reinterpret_cast<half_bits*>(to + j * 8 + quad * 2) = static_cast<half_bits>(pack_half(swiglu(pair[0], pair[1]), 0, out.type));
        } else {
          *reinterpret_cast<std::uint32_t*>(to + j * 16 + quad * 4) = pack_half(pair[0], pair[1], out.type);
        }
      }
    }
    __syncwarp();
    const std::uint32_t at = first_column + chunk * kChunk + lane % 8 * kPiece;
#pragma unroll
    for (std::uint32_t i = 0; i < 4; ++i) {
      const std::uint32_t r = lane / 8 + 4 * i;
      if (static_cast<std::int32_t>(r) >= rows || at >= out.width) continue;
      uint4 words = *reinterpret_cast<const uint4*>(results + r * kRow + lane % 8 * 16);
      uint4* to = reinterpret_cast<uint4*>(static_cast<unsigned char*>(out.y) + ((row + r) * out.width + at) * kBytes);
      if (kWide && out.add) {
        const float4 before = *reinterpret_cast<const float4*>(to);
        words = make_uint4(__float_as_uint(before.x + __uint_as_float(words.x)), __float_as_uint(before.y + __uint_as_float(words.y)),
                           __float_as_uint(before.z + __uint_as_float(words.z)), __float_as_uint(before.w + __uint_as_float(words.w)));
      }
      *to = words;
    }
    __syncwarp();
  }
}

}  // namespace gritstone::cuda
