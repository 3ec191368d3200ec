#include "model/files/gguf_reader.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <unordered_set>

#include "base/error.h"
#include "model/files/byte_reader.h"

static_assert(std::endian::native == std::endian::little, "GGUF values are read as they lie in memory");

namespace gritstone {
namespace {

constexpr std::uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr std::uint64_t kMinAlignment = 8;    // llama.cpp's GGUFs use 32; v2 writers used 8 at least
constexpr std::uint64_t kMaxAlignment = 4096;

bool known_type(std::uint32_t type) noexcept { return type <= static_cast<std::uint32_t>(GgufType::kFloat64); }

// Moves over `count` elements of a scalar or string type and checks them.
void skip_elements(ByteReader& reader, GgufType type, std::uint64_t count) {
  if (type == GgufType::kString) {
    // Every string has a length of 8 bytes: refuses absurd counts before the loop.
    if (count > reader.left() / 8) reader.reject("string array of " + std::to_string(count) + " elements does not fit the bytes left");
    for (std::uint64_t i = 0; i < count; ++i) reader.text(GgufLimits::kStringBytes, "metadata string");
    return;
  }
  const auto raw = reader.take(count * gguf_type_size(type), "metadata value");  // count <= 2^24 and size <= 8: no overflow
  if (type == GgufType::kBool && std::any_of(raw.begin(), raw.end(), [](std::uint8_t b) { return b > 1; })) {
    reader.reject("boolean that is neither 0 nor 1");
  }
}

GgufValue read_value(ByteReader& reader) {
  const auto read_type = [&reader] {
    const auto type = reader.scalar<std::uint32_t>("metadata type");
    if (!known_type(type)) reader.reject("unknown metadata type " + std::to_string(type));
    return static_cast<GgufType>(type);
  };
  GgufValue value;
  value.type = value.element = read_type();
  if (value.type == GgufType::kArray) {
    value.element = read_type();
    if (value.element == GgufType::kArray) reader.reject("nested metadata arrays are not supported");
    value.count = reader.scalar<std::uint64_t>("array length");
    if (value.count > GgufLimits::kArrayElements) reader.reject("metadata array of " + std::to_string(value.count) + " elements");
  }
  value.offset = reader.offset();
  skip_elements(reader, value.element, value.count);
  value.bytes = reader.offset() - value.offset;
  return value;
}

// Integer value of a scalar in the file, or nullopt if it is negative or no integer.
std::optional<std::uint64_t> load_unsigned(const std::uint8_t* p, GgufType type) noexcept {
  const auto load = [p]<typename T>(T value) -> std::optional<std::uint64_t> {
    std::memcpy(&value, p, sizeof(T));
    if (value < T{0}) return std::nullopt;
    return static_cast<std::uint64_t>(value);
  };
  switch (type) {
    case GgufType::kUint8:
      return load(std::uint8_t{});
    case GgufType::kInt8:
      return load(std::int8_t{});
    case GgufType::kUint16:
      return load(std::uint16_t{});
    case GgufType::kInt16:
      return load(std::int16_t{});
    case GgufType::kUint32:
      return load(std::uint32_t{});
    case GgufType::kInt32:
      return load(std::int32_t{});
    case GgufType::kUint64:
      return load(std::uint64_t{});
    case GgufType::kInt64:
      return load(std::int64_t{});
    default:
      return std::nullopt;
  }
}

template <typename T>
T load_as(const std::uint8_t* p) noexcept {
  T value;
  std::memcpy(&value, p, sizeof(T));
  return value;
}

GgufTensor read_tensor_info(ByteReader& reader) {
  GgufTensor tensor;
  tensor.name = std::string(reader.text(GgufLimits::kKeyBytes, "tensor name"));
  const std::string shown = "tensor " + printable(tensor.name);
  if (tensor.name.empty()) reader.reject("a tensor has no name");
  const auto n_dims = reader.scalar<std::uint32_t>("number of dimensions");
  if (n_dims < 1 || n_dims > 4) reader.reject(shown + " has " + std::to_string(n_dims) + " dimensions");
  std::uint64_t elements = 1;
  for (std::uint32_t i = 0; i < n_dims; ++i) {
    const auto dim = reader.scalar<std::uint64_t>("dimension");
    if (dim < 1 || dim > GgufLimits::kDimension) reader.reject(shown + " has a dimension of " + std::to_string(dim));
    if (__builtin_mul_overflow(elements, dim, &elements)) reader.reject(shown + " has more elements than 64 bits count");
    tensor.dims.push_back(dim);
  }
  const auto type = reader.scalar<std::uint32_t>("tensor type");
  const std::optional<DType> known = dtype_from_ggml(type);
  if (!known) {
    reader.reject(shown + " has type " + std::to_string(type) +
                  "; supported are F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K to Q6_K");
  }
  tensor.type = *known;
  const DTypeTraits& layout = traits(*known);
  if (tensor.dims[0] % layout.block != 0) {
    reader.reject(shown + " has rows of " + std::to_string(tensor.dims[0]) + " elements, not a multiple of " +
                  std::to_string(layout.block));
  }
  std::uint64_t size = 0;
  if (__builtin_mul_overflow(elements / layout.block, std::uint64_t{layout.bytes}, &size)) reader.reject(shown + " is too large");
  tensor.bytes = size;
  tensor.offset = reader.scalar<std::uint64_t>("tensor offset");  // relative to the data section until all infos are read
  return tensor;
}

}  // namespace

std::string_view gguf_type_name(GgufType type) noexcept {
  constexpr std::string_view kNames[] = {"uint8", "int8",   "uint16", "int16",  "uint32", "int32",  "float32",
                                         "bool",  "string", "array",  "uint64", "int64",  "float64"};
  return known_type(static_cast<std::uint32_t>(type)) ? kNames[static_cast<std::size_t>(type)] : "unknown";
}

std::size_t gguf_type_size(GgufType type) noexcept {
  switch (type) {
    case GgufType::kUint8:
    case GgufType::kInt8:
    case GgufType::kBool:
      return 1;
    case GgufType::kUint16:
    case GgufType::kInt16:
      return 2;
    case GgufType::kUint32:
    case GgufType::kInt32:
    case GgufType::kFloat32:
      return 4;
    case GgufType::kUint64:
    case GgufType::kInt64:
    case GgufType::kFloat64:
      return 8;
    default:
      return 0;
  }
}

std::string printable(std::string_view text, std::size_t limit) {
  std::string out;
  for (const char c : text.substr(0, limit)) out += c >= ' ' && c <= '~' ? c : '?';
  if (text.size() > limit) out += "...";
  return out;
}

GgufFile::GgufFile(std::span<const std::uint8_t> bytes, std::string what) : bytes_(bytes), what_(std::move(what)) {
  ByteReader reader(bytes_, what_);
  const auto magic = reader.scalar<std::uint32_t>("GGUF magic");
  if (magic != kMagic) reader.reject("not a GGUF file");
  version_ = reader.scalar<std::uint32_t>("GGUF version");
  if (version_ != 2 && version_ != 3) {
    const bool swapped = __builtin_bswap32(version_) == 2 || __builtin_bswap32(version_) == 3;
    reader.reject(swapped ? "big-endian GGUF files are not supported"
                          : "GGUF version " + std::to_string(version_) + " is not supported (2, 3)");
  }
  const auto n_tensors = reader.scalar<std::uint64_t>("tensor count");
  const auto n_metadata = reader.scalar<std::uint64_t>("metadata count");
  if (n_tensors > GgufLimits::kTensors)
    reader.reject(std::to_string(n_tensors) + " tensors, the limit is " + std::to_string(GgufLimits::kTensors));
  if (n_metadata > GgufLimits::kMetadata) {
    reader.reject(std::to_string(n_metadata) + " metadata keys, the limit is " + std::to_string(GgufLimits::kMetadata));
  }

  for (std::uint64_t i = 0; i < n_metadata; ++i) {
    std::string key(reader.text(GgufLimits::kKeyBytes, "metadata key"));
    const GgufValue value = read_value(reader);
    if (!metadata_.emplace(key, value).second) reader.reject("metadata key " + printable(key) + " appears twice");
    keys_.push_back(std::move(key));
  }
  if (const GgufValue* value = find("general.alignment")) {
    if (value->type != GgufType::kUint32) wrong_type("general.alignment", *value, "uint32");
    alignment_ = load_as<std::uint32_t>(bytes_.data() + value->offset);
    if (!std::has_single_bit(alignment_) || alignment_ < kMinAlignment || alignment_ > kMaxAlignment) {
      reject("general.alignment is " + std::to_string(alignment_) + ", not a power of two from 8 to 4096");
    }
  }

  std::unordered_set<std::string_view> names;
  tensors_.reserve(n_tensors);  // <= 16,384: the string_views above stay valid
  for (std::uint64_t i = 0; i < n_tensors; ++i) {
    tensors_.push_back(read_tensor_info(reader));
    if (!names.insert(tensors_.back().name).second) reader.reject("tensor " + printable(tensors_.back().name) + " appears twice");
  }

  // Padding of the last tensor's end may be missing, that of the head may not, unless there is no data at all.
  const std::size_t data = (reader.offset() + alignment_ - 1) / alignment_ * alignment_;
  const std::size_t room = data <= bytes_.size() ? bytes_.size() - data : 0;
  std::vector<const GgufTensor*> order;
  for (GgufTensor& tensor : tensors_) {
    const std::string shown = "tensor " + printable(tensor.name);
    if (tensor.offset % alignment_ != 0) {
      reject(shown + " has offset " + std::to_string(tensor.offset) + ", not a multiple of " + std::to_string(alignment_));
    }
    if (tensor.offset > room || tensor.bytes > room - tensor.offset) {
      reject(shown + " needs bytes " + std::to_string(tensor.offset) + " to +" + std::to_string(tensor.bytes) + " of the data, which has " +
             std::to_string(room));
    }
    tensor.offset += data;
    order.push_back(&tensor);
  }
  std::sort(order.begin(), order.end(), [](const GgufTensor* a, const GgufTensor* b) { return a->offset < b->offset; });
  for (std::size_t i = 1; i < order.size(); ++i) {
    if (order[i]->offset < order[i - 1]->offset + order[i - 1]->bytes) {
      reject("tensors " + printable(order[i - 1]->name) + " and " + printable(order[i]->name) + " overlap at byte " +
             std::to_string(order[i]->offset));
    }
  }
}

const GgufValue* GgufFile::find(std::string_view key) const {
  const auto it = metadata_.find(std::string(key));
  return it == metadata_.end() ? nullptr : &it->second;
}

void GgufFile::reject(const std::string& reason) const { throw Error(ErrorCode::kModelRejected, what_ + ": " + reason); }

void GgufFile::wrong_type(std::string_view key, const GgufValue& value, const char* expected) const {
  std::string type(gguf_type_name(value.type));
  if (value.type == GgufType::kArray) type += " of " + std::string(gguf_type_name(value.element));
  reject("metadata key " + printable(key) + " is " + type + ", expected " + expected + " (at byte " + std::to_string(value.offset) + ")");
}

std::optional<std::uint64_t> GgufFile::unsigned_integer(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  const auto loaded = load_unsigned(bytes_.data() + value->offset, value->type);
  if (!loaded) wrong_type(key, *value, "an integer that is not negative");
  return loaded;
}

std::optional<double> GgufFile::number(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  const std::uint8_t* p = bytes_.data() + value->offset;
  if (value->type == GgufType::kFloat32) return load_as<float>(p);
  if (value->type == GgufType::kFloat64) return load_as<double>(p);
  const auto loaded = load_unsigned(p, value->type);
  if (!loaded) wrong_type(key, *value, "a number");
  return static_cast<double>(*loaded);
}

std::optional<bool> GgufFile::boolean(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (value->type != GgufType::kBool) wrong_type(key, *value, "bool");
  return bytes_[value->offset] != 0;
}

std::optional<std::string> GgufFile::text(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (value->type != GgufType::kString) wrong_type(key, *value, "string");
  return std::string(reinterpret_cast<const char*>(bytes_.data()) + value->offset + 8, value->bytes - 8);
}

bool GgufFile::read_strings(std::string_view key, std::vector<std::string>& out) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return false;
  if (value->type != GgufType::kArray || value->element != GgufType::kString) wrong_type(key, *value, "array of string");
  ByteReader reader(bytes_.subspan(value->offset, value->bytes), what_);
  out.clear();
  out.reserve(value->count);
  for (std::uint64_t i = 0; i < value->count; ++i) out.emplace_back(reader.text(GgufLimits::kStringBytes, "metadata string"));
  return true;
}

bool GgufFile::read_integers(std::string_view key, std::vector<std::int32_t>& out) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return false;
  if (value->type != GgufType::kArray || (value->element != GgufType::kInt32 && value->element != GgufType::kUint32)) {
    wrong_type(key, *value, "array of int32");
  }
  out.resize(value->count);
  if (value->bytes > 0) std::memcpy(out.data(), bytes_.data() + value->offset, value->bytes);
  return true;
}

bool GgufFile::read_floats(std::string_view key, std::vector<float>& out) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return false;
  if (value->type != GgufType::kArray || value->element != GgufType::kFloat32) wrong_type(key, *value, "array of float32");
  out.resize(value->count);
  if (value->bytes > 0) std::memcpy(out.data(), bytes_.data() + value->offset, value->bytes);
  return true;
}

}  // namespace gritstone
