// The driver API's part that the backend uses.
#pragma once

#include <cstdint>

// A matrix of two-byte values that the copy engine reads in boxes of 64 columns. Opaque in the toolkit's header.
struct alignas(64) CUtensorMap {
  const std::uint16_t* values;
  std::uint32_t rows, cols, box_rows;
};
