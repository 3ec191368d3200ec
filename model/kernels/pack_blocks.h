// File blocks taken apart: unsigned codes in column order, and the scales as panels store them.
#pragma once

#include <cstdint>

#include "model/dtype.h"

namespace gritstone::panel {

struct Block {
  std::uint8_t codes[256];  // [block columns], K order
  std::uint16_t d;          // f16
  std::uint16_t m;          // f16 that is added (K types: -dmin); 0 for symmetric types
  std::int8_t scale[16];    // [groups] super-blocks only
  std::int8_t min[16];      // [groups] affine super-blocks only
};

// REQUIRES: type has a panel format; `bytes` holds traits(type).bytes.
void read_block(DType type, const std::uint8_t* bytes, Block& out) noexcept;

}  // namespace gritstone::panel
