// Writes f32 tensors as one safetensors file, streamed: header first, then the data in the order announced.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/checked_file.h"

namespace gritstone {

struct SafetensorsEntry {
  std::string name;
  std::vector<std::size_t> shape;
};

// Used from one thread. The file appears under its name at commit(), whole.
class SafetensorsWriter {
 public:
  // Throws Error: kStorage; kInvalidArgument if two entries share a name or a shape overflows.
  SafetensorsWriter(const std::filesystem::path& path, const std::vector<SafetensorsEntry>& entries);

  // Appends values; pieces may end anywhere, also across tensors. Throws Error: kStorage; kInvalidArgument if more values come than the
  // shapes announced.
  void append(std::span<const float> values);

  // Throws Error: kStorage; kInvalidArgument if values are missing (nothing is left behind then).
  void commit();

 private:
  std::filesystem::path path_;
  CheckedFileWriter file_;
  std::uint64_t expected_ = 0;  // values announced
  std::uint64_t written_ = 0;
};

}  // namespace gritstone
