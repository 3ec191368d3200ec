#include "model/files/safetensors_reader.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/json.h"
#include "model/files/byte_reader.h"

namespace gritstone {
namespace {

constexpr std::uint64_t kMinHeader = 2;
constexpr std::uint64_t kMaxHeader = 100'000'000;
constexpr std::size_t kMaxTensors = std::size_t{1} << 20;  // OLMoE-1B-7B has 3,219

struct ElementType {
  const char* name;
  std::size_t bytes;
  std::optional<DType> type;
};
constexpr ElementType kElementTypes[] = {{"F32", 4, DType::kF32}, {"F16", 2, DType::kF16}, {"BF16", 2, DType::kBF16},
                                         {"F64", 8, {}},          {"I64", 8, {}},          {"I32", 4, {}},
                                         {"I16", 2, {}},          {"I8", 1, {}},           {"U64", 8, {}},
                                         {"U32", 4, {}},          {"U16", 2, {}},          {"U8", 1, {}},
                                         {"BOOL", 1, {}},         {"F8_E4M3", 1, {}},      {"F8_E5M2", 1, {}}};

[[noreturn]] void reject(const std::string& what, const std::string& reason) {
  throw Error(ErrorCode::kModelRejected, what + ": " + reason);
}

// Non-negative integer; JSON numbers such as 1e3 or 4.0 are not accepted.
std::uint64_t integer(const rapidjson::Value& value, const std::string& what, const std::string& shown, const char* field) {
  if (!value.IsUint64()) reject(what, shown + ": " + field + " must hold integers that are not negative");
  return value.GetUint64();
}

SafetensorsTensor read_tensor(const std::string& name, const rapidjson::Value& info, std::size_t data, std::size_t room,
                              const std::string& what) {
  const std::string shown = "tensor " + printable(name);
  if (!info.IsObject()) reject(what, shown + " is not described by an object");
  const auto dtype = info.FindMember("dtype");
  const auto shape = info.FindMember("shape");
  const auto offsets = info.FindMember("data_offsets");
  if (dtype == info.MemberEnd() || !dtype->value.IsString()) reject(what, shown + " has no dtype");
  if (shape == info.MemberEnd() || !shape->value.IsArray() || shape->value.Size() > 8) reject(what, shown + " has no valid shape");
  if (offsets == info.MemberEnd() || !offsets->value.IsArray() || offsets->value.Size() != 2)
    reject(what, shown + " has no data_offsets pair");

  SafetensorsTensor tensor;
  tensor.name = name;
  tensor.dtype = dtype->value.GetString();
  const auto* element =
      std::find_if(std::begin(kElementTypes), std::end(kElementTypes), [&](const ElementType& e) { return tensor.dtype == e.name; });
  if (element == std::end(kElementTypes)) reject(what, shown + " has unknown dtype \"" + printable(tensor.dtype) + "\"");
  tensor.type = element->type;
  std::uint64_t size = element->bytes;
  for (const rapidjson::Value& dim : shape->value.GetArray()) {
    const std::uint64_t n = integer(dim, what, shown, "shape");
    if (__builtin_mul_overflow(size, n, &size)) reject(what, shown + " has a shape whose product overflows 64 bits");
    tensor.shape.push_back(n);
  }
  const std::uint64_t begin = integer(offsets->value[0], what, shown, "data_offsets");
  const std::uint64_t end = integer(offsets->value[1], what, shown, "data_offsets");
  if (begin > end || end > room) {
    reject(what, shown + " has data_offsets [" + std::to_string(begin) + ", " + std::to_string(end) + "], the data has " +
                     std::to_string(room) + " bytes");
  }
  if (end - begin != size) {
    reject(what, shown + " has " + std::to_string(end - begin) + " bytes, its shape and dtype ask for " + std::to_string(size));
  }
  tensor.offset = data + begin;
  tensor.bytes = size;
  return tensor;
}

rapidjson::Document parse(std::string_view text, const std::string& what) {
  try {
    return parse_json(text, what);
  } catch (const Error& error) {
    throw Error(ErrorCode::kModelRejected, error.what());
  }
}

}  // namespace

std::vector<SafetensorsTensor> parse_safetensors(std::span<const std::uint8_t> bytes, const std::string& what) {
  ByteReader reader(bytes, what);
  const auto header_bytes = reader.scalar<std::uint64_t>("header length");
  if (header_bytes < kMinHeader || header_bytes > kMaxHeader) {
    reader.reject("not a safetensors file: header of " + std::to_string(header_bytes) + " bytes, expected 2 to 100000000");
  }
  const auto raw = reader.take(header_bytes, "header");
  if (raw[0] != '{') reject(what, "not a safetensors file: the header does not start with '{'");
  const rapidjson::Document header = parse({reinterpret_cast<const char*>(raw.data()), raw.size()}, what);
  if (!header.IsObject() || header.MemberCount() > kMaxTensors)
    reject(what, "header with " + std::to_string(header.MemberCount()) + " members");

  const std::size_t data = reader.offset();
  const std::size_t room = reader.left();
  std::vector<SafetensorsTensor> tensors;
  for (const auto& member : header.GetObject()) {
    const std::string name(member.name.GetString(), member.name.GetStringLength());
    if (name == "__metadata__") continue;
    tensors.push_back(read_tensor(name, member.value, data, room, what));
  }
  // Contiguous in offset order; tensors of no bytes may share an offset, so they sort by their end.
  std::sort(tensors.begin(), tensors.end(), [](const SafetensorsTensor& a, const SafetensorsTensor& b) {
    return a.offset != b.offset ? a.offset < b.offset : a.bytes < b.bytes;
  });
  std::size_t expected = data;
  for (const SafetensorsTensor& tensor : tensors) {
    if (tensor.offset != expected) {
      reject(what, "tensor " + printable(tensor.name) + " starts at byte " + std::to_string(tensor.offset) + ", expected " +
                       std::to_string(expected) + " (a hole or an overlap)");
    }
    expected += tensor.bytes;
  }
  if (expected != bytes.size()) {
    reject(what, std::to_string(bytes.size() - expected) + " bytes after the last tensor, at byte " + std::to_string(expected));
  }
  return tensors;
}

std::map<std::string, std::string> parse_safetensors_index(const std::string& json, const std::string& what) {
  const rapidjson::Document document = parse(json, what);
  if (!document.IsObject()) reject(what, "not an object");
  const auto map = document.FindMember("weight_map");
  if (map == document.MemberEnd() || !map->value.IsObject()) reject(what, "no weight_map");
  std::map<std::string, std::string> files;
  for (const auto& member : map->value.GetObject()) {
    const std::string name(member.name.GetString(), member.name.GetStringLength());
    if (!member.value.IsString()) reject(what, "tensor " + printable(name) + " names no file");
    const std::string file(member.value.GetString(), member.value.GetStringLength());
    const bool plain = file.size() > 12 && file.size() <= 255 && file.front() != '.' && file.ends_with(".safetensors") &&
                       file.find_first_of(std::string("/\\\0", 3)) == std::string::npos;
    if (!plain) reject(what, "\"" + printable(file) + "\" is not a plain name of a .safetensors file");
    files.emplace(name, file);
  }
  return files;
}

}  // namespace gritstone
