// Writes GGUF version 3, streamed: metadata and tensor table first, then each tensor's data in the announced order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/checked_file.h"
#include "model/dtype.h"
#include "model/files/gguf_reader.h"

namespace gritstone {

// Used from one thread: add metadata and tensors, then begin_data(), then for each tensor in order append() until it is full; commit().
// The file appears under its name at commit(), whole.
class GgufWriter {
 public:
  static constexpr std::size_t kAlignment = 32;  // GGUF's default: the key need not be written

  // Throws Error(kStorage) if the file cannot be created.
  explicit GgufWriter(const std::filesystem::path& path);

  void add_u32(std::string_view key, std::uint32_t value);
  void add_f32(std::string_view key, float value);
  void add_bool(std::string_view key, bool value);
  void add_string(std::string_view key, std::string_view value);
  void add_strings(std::string_view key, const std::vector<std::string>& values);
  void add_i32s(std::string_view key, const std::vector<std::int32_t>& values);
  void add_f32s(std::string_view key, const std::vector<float>& values);
  // Copies a value of another file as it lies there.
  void add_raw(std::string_view key, const GgufFile& file, const GgufValue& value);

  //   shape  as TensorRef: fastest-varying dimension last; rows a multiple of the type's block.
  void add_tensor(const std::string& name, DType type, const std::vector<std::size_t>& shape);

  // Writes the head. Throws Error(kStorage).
  void begin_data();
  // The next bytes of the current tensor; REQUIRES: they do not reach into the next one. Throws Error(kStorage).
  void append(std::span<const std::uint8_t> bytes);
  // REQUIRES: every tensor is complete. Throws Error(kStorage).
  void commit();

  std::uint64_t data_bytes() const noexcept { return data_bytes_; }  // of all tensors with padding

 private:
  void put_key(std::string_view key, GgufType type);
  void put(const void* bytes, std::size_t size);
  void put_text(std::string_view text);

  struct Tensor {
    std::uint64_t bytes;
  };
  CheckedFileWriter file_;
  std::vector<std::uint8_t> metadata_;
  std::vector<std::uint8_t> infos_;
  std::vector<Tensor> tensors_;
  std::uint64_t n_metadata_ = 0;
  std::uint64_t data_bytes_ = 0;
  std::size_t current_ = 0;       // tensor being written
  std::uint64_t in_current_ = 0;  // its bytes so far
};

}  // namespace gritstone
