#include "model/safetensors_writer.h"

#include <bit>
#include <set>

#include "base/error.h"
#include "base/json.h"

static_assert(std::endian::native == std::endian::little, "values are written as they lie in memory");

namespace gritstone {

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path, const std::vector<SafetensorsEntry>& entries)
    : path_(path), file_(path) {
  rapidjson::Document header(rapidjson::kObjectType);
  auto& allocator = header.GetAllocator();
  std::set<std::string> names;
  for (const SafetensorsEntry& entry : entries) {
    if (!names.insert(entry.name).second) throw Error(ErrorCode::kInvalidArgument, "tensor " + entry.name + " is announced twice");
    std::uint64_t count = 1;
    rapidjson::Value shape(rapidjson::kArrayType);
    for (const std::size_t dim : entry.shape) {
      if (__builtin_mul_overflow(count, dim, &count))
        throw Error(ErrorCode::kInvalidArgument, "the shape of tensor " + entry.name + " overflows");
      shape.PushBack(static_cast<std::uint64_t>(dim), allocator);
    }
    rapidjson::Value offsets(rapidjson::kArrayType);
    offsets.PushBack(expected_ * sizeof(float), allocator).PushBack((expected_ + count) * sizeof(float), allocator);
    rapidjson::Value info(rapidjson::kObjectType);
    info.AddMember("dtype", "F32", allocator).AddMember("shape", shape, allocator).AddMember("data_offsets", offsets, allocator);
    header.AddMember(rapidjson::Value(entry.name, allocator), info, allocator);
    expected_ += count;
  }
  std::string text = json_text(header);
  // The format pads the header with spaces so that the data starts at a multiple of 8.
  text.append((8 - text.size() % 8) % 8, ' ');
  const std::uint64_t length = text.size();
  file_.write({reinterpret_cast<const std::uint8_t*>(&length), sizeof(length)});
  file_.write({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

void SafetensorsWriter::append(std::span<const float> values) {
  if (values.size() > expected_ - written_) {
    throw Error(ErrorCode::kInvalidArgument,
                path_.string() + ": " + std::to_string(written_ + values.size()) + " values for tensors of " + std::to_string(expected_));
  }
  file_.write({reinterpret_cast<const std::uint8_t*>(values.data()), values.size_bytes()});
  written_ += values.size();
}

void SafetensorsWriter::commit() {
  if (written_ != expected_) {
    throw Error(ErrorCode::kInvalidArgument,
                path_.string() + ": " + std::to_string(written_) + " values written, the tensors have " + std::to_string(expected_));
  }
  file_.commit();
}

}  // namespace gritstone
