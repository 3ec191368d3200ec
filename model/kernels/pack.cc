// File rows -> panels (layout: matmul_panel.h).
#include <algorithm>
#include <cstring>

#include "model/kernels/matmul.h"
#include "model/kernels/matmul_panel.h"
#include "model/kernels/pack_blocks.h"

namespace gritstone {
namespace {

using panel::Block;
using panel::Format;

void store_u32(std::uint8_t* at, std::uint32_t value) noexcept { std::memcpy(at, &value, sizeof value); }

// Codes of 32 columns of one row into its lane of every plane vector; four codes at a time in a 32-bit word.
void pack_codes(const Format& format, const std::uint8_t* codes, std::size_t lane, std::uint8_t* planes) noexcept {
  std::uint32_t word[8];
  std::memcpy(word, codes, sizeof word);
  std::uint8_t* at = planes + 4 * lane;
  if (format.base_bits == 8) {
    for (int j = 0; j < 8; ++j, at += 64) store_u32(at, word[j]);
    return;
  }
  if (format.base_bits == 4) {
    for (int j = 0; j < 4; ++j, at += 64) store_u32(at, (word[j] & 0x0F0F0F0Fu) | ((word[j + 4] & 0x0F0F0F0Fu) << 4));
  } else {
    for (int j = 0; j < 8; j += 4, at += 64) {
      std::uint32_t packed = 0;
      for (int i = 0; i < 4; ++i) packed |= (word[j + i] & 0x03030303u) << (2 * i);
      store_u32(at, packed);
    }
  }
  if (format.high_bits == 1) {
    std::uint32_t packed = 0;
    for (int j = 0; j < 8; ++j) packed |= ((word[j] >> format.base_bits) & 0x01010101u) << j;
    store_u32(at, packed);
  } else if (format.high_bits == 2) {
    for (int j = 0; j < 8; j += 4, at += 64) {
      std::uint32_t packed = 0;
      for (int i = 0; i < 4; ++i) packed |= ((word[j + i] >> format.base_bits) & 0x03030303u) << (2 * i);
      store_u32(at, packed);
    }
  }
}

void pack_scales(const Format& format, const Block& block, std::size_t lane, std::uint8_t* scales) noexcept {
  std::memcpy(scales + 2 * lane, &block.d, 2);
  if (format.affine) std::memcpy(scales + 32 + 2 * lane, &block.m, 2);
  if (!format.super()) return;
  std::uint8_t* sub = scales + format.head_bytes();
  for (std::size_t g = 0; g < format.groups(); ++g) std::memcpy(sub + 16 * g + lane, &block.scale[g], 1);
  if (!format.affine) return;
  sub += 16 * format.groups();
  for (std::size_t g = 0; g < format.groups(); ++g) std::memcpy(sub + 16 * g + lane, &block.min[g], 1);
}

}  // namespace

bool has_panel_kernel(DType type, std::size_t cols) noexcept {
  const Format* format = panel::find_format(type);
  return format != nullptr && cols > 0 && cols % static_cast<std::size_t>(format->block) == 0;
}

std::size_t panel_bytes(DType type, std::size_t cols) noexcept { return panel::find_format(type)->panel_bytes(cols); }

void pack_panel(DType type, const std::uint8_t* rows, std::size_t n, std::size_t cols, std::uint8_t* out) noexcept {
  const Format& format = *panel::find_format(type);
  // Rows that do not exist keep d = m = 0: whatever their codes, they add 0.
  if (n < kPanelRows) {
    std::memset(out, 0, format.panel_bytes(cols));
  } else {
    const std::size_t used = cols / static_cast<std::size_t>(format.block) * format.scale_bytes();
    std::memset(out + used, 0, format.scale_region(cols) - used);
  }
  const std::size_t file_block = traits(type).bytes;
  const std::size_t blocks = cols / static_cast<std::size_t>(format.block);
  const std::size_t quads_per_block = static_cast<std::size_t>(format.block) / 32;
  std::uint8_t* planes = out + format.scale_region(cols);
  Block block;
  for (std::size_t b = 0; b < blocks; ++b) {
    for (std::size_t lane = 0; lane < n; ++lane) {
      panel::read_block(type, rows + (lane * blocks + b) * file_block, block);
      pack_scales(format, block, lane, out + b * format.scale_bytes());
      for (std::size_t i = 0; i < quads_per_block; ++i) {
        pack_codes(format, block.codes + 32 * i, lane, planes + (b * quads_per_block + i) * format.plane_bytes());
      }
    }
  }
}

}  // namespace gritstone
