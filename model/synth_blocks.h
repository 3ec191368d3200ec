// Random weights straight in a file's block format: two orders of magnitude faster than drawing f32 values and quantising them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "model/dtype.h"

namespace gritstone {

// Fills rows of one type and scale. Codes are uniform random bits; scales vary between groups like those of a real file; the values of a
// row have mean 0 and standard deviation sigma +- 5 % over 2048 columns. Immutable, thread-safe.
class RandomRows {
 public:
  // REQUIRES: columns is a multiple of the type's block.
  RandomRows(DType type, std::size_t columns, float sigma);

  std::size_t row_bytes() const noexcept { return bytes_; }
  // Writes row_bytes() bytes that depend on nothing but (type, columns, sigma, key).
  void fill(std::uint64_t key, std::uint8_t* row) const noexcept;

 private:
  void set_scales(std::uint64_t& state, std::uint8_t* block) const noexcept;

  DType type_;
  std::size_t columns_;
  std::size_t bytes_;
  std::uint16_t scale_ = 0;   // f16 bits of the block scale
  std::uint16_t offset_ = 0;  // f16 bits of the block's offset or scale of mins
  float amplitude_ = 0.0f;    // of the types without blocks: uniform in [-amplitude, amplitude]
};

// Key of a row, or of any other stream of numbers: mixes the seed, a name and an index.
std::uint64_t random_key(std::uint64_t seed, std::string_view name, std::uint64_t index) noexcept;

// Next 64 bits of the stream (splitmix64: a counter through a bijective mix; passes BigCrush).
std::uint64_t next_random(std::uint64_t& state) noexcept;
// Uniform in [0, 1), 24 bits.
float next_uniform(std::uint64_t& state) noexcept;

}  // namespace gritstone
