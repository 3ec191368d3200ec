#include <bit>
#include <cstdint>
#include <cstring>

#include "emulated_block.h"

namespace emulation {
namespace {

float low(bool f16, std::uint32_t word) {
  return f16 ? static_cast<float>(std::bit_cast<_Float16>(static_cast<std::uint16_t>(word))) : std::bit_cast<float>(word << 16);
}
float high(bool f16, std::uint32_t word) { return f16 ? low(f16, word >> 16) : std::bit_cast<float>(word & 0xFFFF0000u); }

}  // namespace

const TileProduct& multiply_tiles(Exchange& met, bool f16) {
  static_assert(sizeof(TileProduct) <= sizeof(met.result));
  TileProduct& product = *reinterpret_cast<TileProduct*>(met.result);
  if (met.combined) return product;
  met.combined = true;
  using Row = float __attribute__((vector_size(32)));  // compilers vectorise the loops below over the wrong one by themselves
  float a[16][16];
  Row b[16];
  for (unsigned lane = 0; lane < 32; ++lane) {
    const std::uint32_t* fragments = &met.lane<std::uint32_t>(lane);
    const unsigned g = lane / 4, t = lane % 4;
    for (unsigned half = 0; half < 2; ++half) {
      const unsigned k = 2 * t + 8 * half;
      for (unsigned i = 0; i < 2; ++i) {
        a[g + 8 * i][k] = low(f16, fragments[2 * half + i]);
        a[g + 8 * i][k + 1] = high(f16, fragments[2 * half + i]);
      }
      b[k][g] = low(f16, fragments[4 + half]);
      b[k + 1][g] = high(f16, fragments[4 + half]);
    }
  }
  for (unsigned i = 0; i < 16; ++i) {
    Row sum = {};
    for (unsigned k = 0; k < 16; ++k) sum += a[i][k] * b[k];
    for (unsigned j = 0; j < 8; ++j) product[i][j] = sum[j];
  }
  return product;
}

const WarpProduct& multiply_warp(Exchange& met, bool f16, const float* right, unsigned width) {
  static_assert(sizeof(WarpProduct) <= sizeof(met.result));
  WarpProduct& product = *reinterpret_cast<WarpProduct*>(met.result);
  float a[16][16];
  for (unsigned lane = 0; lane < 32; ++lane) {
    const std::uint32_t* fragments = &met.lane<std::uint32_t>(lane);
    for (unsigned i = 0; i < 4; ++i) {
      const unsigned row = lane / 4 + i % 2 * 8, k = 2 * (lane % 4) + i / 2 * 8;
      a[row][k] = low(f16, fragments[i]);
      a[row][k + 1] = high(f16, fragments[i]);
    }
  }
  using Part = float __attribute__((vector_size(32)));
  for (unsigned column = 0; column < width; column += 8) {
    Part b[16];
    for (unsigned k = 0; k < 16; ++k) std::memcpy(&b[k], right + k * 128 + column, sizeof(Part));
    for (unsigned row = 0; row < 16; ++row) {
      Part sum = {};
      for (unsigned k = 0; k < 16; ++k) sum += a[row][k] * b[k];
      std::memcpy(&product[row][column], &sum, sizeof(sum));
    }
  }
  return product;
}

}  // namespace emulation
