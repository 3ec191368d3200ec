#include <bit>
#include <cstdint>

#include "emulated_block.h"

namespace emulation {

const TileProduct& multiply_tiles(Exchange& met, bool f16) {
  static_assert(sizeof(TileProduct) <= sizeof(met.result));
  TileProduct& product = *reinterpret_cast<TileProduct*>(met.result);
  if (met.combined) return product;
  met.combined = true;
  using Row = float __attribute__((vector_size(32)));  // compilers vectorise the loops below over the wrong one by themselves
  float a[16][16];
  Row b[16];
  const auto low = [f16](std::uint32_t word) {
    return f16 ? static_cast<float>(std::bit_cast<_Float16>(static_cast<std::uint16_t>(word))) : std::bit_cast<float>(word << 16);
  };
  const auto high = [&](std::uint32_t word) { return f16 ? low(word >> 16) : std::bit_cast<float>(word & 0xFFFF0000u); };
  for (unsigned lane = 0; lane < 32; ++lane) {
    const std::uint32_t* fragments = &met.lane<std::uint32_t>(lane);
    const unsigned g = lane / 4, t = lane % 4;
    for (unsigned half = 0; half < 2; ++half) {
      const unsigned k = 2 * t + 8 * half;
      for (unsigned i = 0; i < 2; ++i) {
        a[g + 8 * i][k] = low(fragments[2 * half + i]);
        a[g + 8 * i][k + 1] = high(fragments[2 * half + i]);
      }
      b[k][g] = low(fragments[4 + half]);
      b[k + 1][g] = high(fragments[4 + half]);
    }
  }
  for (unsigned i = 0; i < 16; ++i) {
    Row sum = {};
    for (unsigned k = 0; k < 16; ++k) sum += a[i][k] * b[k];
    for (unsigned j = 0; j < 8; ++j) product[i][j] = sum[j];
  }
  return product;
}

}  // namespace emulation
