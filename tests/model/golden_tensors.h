// Reads the small safetensors files that the reference scripts write. Deliberately not the product's reader: a golden must not pass
// because the same mistake was made twice.
#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/checked_file.h"
#include "base/json.h"

namespace gritstone {

struct GoldenTensor {
  std::vector<std::size_t> shape;
  std::vector<float> f32;         // for dtype F32
  std::vector<std::int32_t> i32;  // for dtype I32
};

// All tensors of a file of F32 and I32 tensors. Throws on anything else.
inline std::map<std::string, GoldenTensor> read_golden_tensors(const std::filesystem::path& path) {
  const std::string file = read_file(path, std::size_t{1} << 28);
  std::uint64_t header_size = 0;
  if (file.size() < 8) throw std::runtime_error(path.string() + ": no header");
  std::memcpy(&header_size, file.data(), 8);
  const rapidjson::Document header = parse_json(std::string_view(file).substr(8, header_size), path.string());
  const std::string_view data = std::string_view(file).substr(8 + header_size);
  std::map<std::string, GoldenTensor> tensors;
  for (const auto& member : header.GetObject()) {
    const std::string name = member.name.GetString();
    if (name == "__metadata__") continue;
    GoldenTensor tensor;
    for (const auto& dimension : member.value["shape"].GetArray()) tensor.shape.push_back(dimension.GetUint64());
    const std::uint64_t begin = member.value["data_offsets"][0].GetUint64(), end = member.value["data_offsets"][1].GetUint64();
    if (begin > end || end > data.size()) throw std::runtime_error(path.string() + ": " + name + " is outside the file");
    const std::string dtype = member.value["dtype"].GetString();
    if (dtype == "F32") {
      tensor.f32.resize((end - begin) / 4);
      std::memcpy(tensor.f32.data(), data.data() + begin, tensor.f32.size() * 4);
    } else if (dtype == "I32") {
      tensor.i32.resize((end - begin) / 4);
      std::memcpy(tensor.i32.data(), data.data() + begin, tensor.i32.size() * 4);
    } else {
      throw std::runtime_error(path.string() + ": " + name + " has dtype " + dtype);
    }
    tensors.emplace(name, std::move(tensor));
  }
  return tensors;
}

}  // namespace gritstone
