// Parses the head of a GGUF file (metadata and tensor table) from untrusted bytes; weights are located, not read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "model/dtype.h"

namespace gritstone {

// GGUF's own numbers for metadata types.
enum class GgufType : std::uint32_t {
  kUint8 = 0,
  kInt8 = 1,
  kUint16 = 2,
  kInt16 = 3,
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kUint64 = 10,
  kInt64 = 11,
  kFloat64 = 12,
};

// Where one metadata value lies in the file. Arrays are only located and bounds-checked (a vocabulary has 50,000 strings); the accessors of
// GgufFile decode them on demand.
struct GgufValue {
  GgufType type = GgufType::kUint8;     // kArray: of `element`
  GgufType element = GgufType::kUint8;  // type of the elements of an array
  std::uint64_t count = 1;              // elements of an array
  std::size_t offset = 0;               // of the first element in the file
  std::size_t bytes = 0;
};

struct GgufTensor {
  std::string name;
  DType type = DType::kF32;
  std::vector<std::uint64_t> dims;  // fastest-varying first, 1 to 4, each 1 .. 2^31
  std::size_t offset = 0;           // in the file
  std::size_t bytes = 0;
};

// Limits of the reader, all checked before anything is allocated. Sources: the largest public GGUFs have about 2,000 tensors and 50 keys;
// vocabularies have up to 262,144 tokens.
struct GgufLimits {
  static constexpr std::uint64_t kMetadata = 65536;
  static constexpr std::uint64_t kTensors = 16384;
  static constexpr std::uint64_t kKeyBytes = 65535;
  static constexpr std::uint64_t kStringBytes = 16 << 20;
  static constexpr std::uint64_t kArrayElements = 16 << 20;
  static constexpr std::uint64_t kDimension = std::uint64_t{1} << 31;
};

// The parsed head; borrows the file's bytes. Immutable, thread-safe.
class GgufFile {
 public:
  // Versions 2 and 3, little-endian. Checks everything the format promises: counts against the limits above and against the bytes left,
  // types, unique keys and tensor names, block divisibility, products without overflow, alignment (a power of two, 8 .. 4096), offsets
  // aligned, inside the file and not overlapping.
  //   bytes  the whole file; borrowed for life.
  //   what   names the file in errors.
  // Throws Error(kModelRejected) with the offset or the tensor's name.
  GgufFile(std::span<const std::uint8_t> bytes, std::string what);

  std::uint32_t version() const noexcept { return version_; }
  std::size_t alignment() const noexcept { return alignment_; }
  const std::vector<GgufTensor>& tensors() const noexcept { return tensors_; }
  const std::vector<std::string>& keys() const noexcept { return keys_; }  // in file order
  std::span<const std::uint8_t> bytes() const noexcept { return bytes_; }

  const GgufValue* find(std::string_view key) const;
  // Typed access; nullopt or false if the key is absent. Throws Error(kModelRejected) naming the key if the type does not fit: integers of
  // any width are accepted where their value fits, numbers also from either float type.
  std::optional<std::uint64_t> unsigned_integer(std::string_view key) const;
  std::optional<double> number(std::string_view key) const;
  std::optional<bool> boolean(std::string_view key) const;
  std::optional<std::string> text(std::string_view key) const;
  bool read_strings(std::string_view key, std::vector<std::string>& out) const;
  bool read_integers(std::string_view key, std::vector<std::int32_t>& out) const;
  bool read_floats(std::string_view key, std::vector<float>& out) const;

 private:
  [[noreturn]] void reject(const std::string& reason) const;
  [[noreturn]] void wrong_type(std::string_view key, const GgufValue& value, const char* expected) const;

  std::span<const std::uint8_t> bytes_;
  std::string what_;
  std::uint32_t version_ = 0;
  std::size_t alignment_ = 32;
  std::vector<std::string> keys_;
  std::unordered_map<std::string, GgufValue> metadata_;
  std::vector<GgufTensor> tensors_;
};

std::string_view gguf_type_name(GgufType type) noexcept;
// Bytes of a scalar; 0 for strings and arrays.
std::size_t gguf_type_size(GgufType type) noexcept;

}  // namespace gritstone
