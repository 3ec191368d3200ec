#include "model/files/gguf_writer.h"

#include <array>

#include "base/error.h"

namespace gritstone {
namespace {

void append_bytes(std::vector<std::uint8_t>& out, const void* bytes, std::size_t size) {
  const auto* p = static_cast<const std::uint8_t*>(bytes);
  out.insert(out.end(), p, p + size);
}

template <typename T>
void append_scalar(std::vector<std::uint8_t>& out, T value) {
  append_bytes(out, &value, sizeof(value));
}

std::uint64_t padded(std::uint64_t size) { return (size + GgufWriter::kAlignment - 1) / GgufWriter::kAlignment * GgufWriter::kAlignment; }

}  // namespace

GgufWriter::GgufWriter(const std::filesystem::path& path) : file_(path) {}

void GgufWriter::put(const void* bytes, std::size_t size) { append_bytes(metadata_, bytes, size); }

void GgufWriter::put_text(std::string_view text) {
  append_scalar(metadata_, static_cast<std::uint64_t>(text.size()));
  put(text.data(), text.size());
}

void GgufWriter::put_key(std::string_view key, GgufType type) {
  put_text(key);
  append_scalar(metadata_, static_cast<std::uint32_t>(type));
  ++n_metadata_;
}

void GgufWriter::add_u32(std::string_view key, std::uint32_t value) {
  put_key(key, GgufType::kUint32);
  append_scalar(metadata_, value);
}

void GgufWriter::add_f32(std::string_view key, float value) {
  put_key(key, GgufType::kFloat32);
  append_scalar(metadata_, value);
}

void GgufWriter::add_bool(std::string_view key, bool value) {
  put_key(key, GgufType::kBool);
  append_scalar(metadata_, static_cast<std::uint8_t>(value ? 1 : 0));
}

void GgufWriter::add_string(std::string_view key, std::string_view value) {
  put_key(key, GgufType::kString);
  put_text(value);
}

void GgufWriter::add_strings(std::string_view key, const std::vector<std::string>& values) {
  put_key(key, GgufType::kArray);
  append_scalar(metadata_, static_cast<std::uint32_t>(GgufType::kString));
  append_scalar(metadata_, static_cast<std::uint64_t>(values.size()));
  for (const std::string& value : values) put_text(value);
}

void GgufWriter::add_i32s(std::string_view key, const std::vector<std::int32_t>& values) {
  put_key(key, GgufType::kArray);
  append_scalar(metadata_, static_cast<std::uint32_t>(GgufType::kInt32));
  append_scalar(metadata_, static_cast<std::uint64_t>(values.size()));
  put(values.data(), values.size() * sizeof(std::int32_t));
}

void GgufWriter::add_f32s(std::string_view key, const std::vector<float>& values) {
  put_key(key, GgufType::kArray);
  append_scalar(metadata_, static_cast<std::uint32_t>(GgufType::kFloat32));
  append_scalar(metadata_, static_cast<std::uint64_t>(values.size()));
  put(values.data(), values.size() * sizeof(float));
}

void GgufWriter::add_raw(std::string_view key, const GgufFile& file, const GgufValue& value) {
  put_key(key, value.type);
  if (value.type == GgufType::kArray) {
    append_scalar(metadata_, static_cast<std::uint32_t>(value.element));
    append_scalar(metadata_, value.count);
  }
  put(file.bytes().data() + value.offset, value.bytes);
}

void GgufWriter::add_tensor(const std::string& name, DType type, const std::vector<std::size_t>& shape) {
  GS_CHECK(!shape.empty() && shape.size() <= 4 && shape.back() % traits(type).block == 0);
  append_scalar(infos_, static_cast<std::uint64_t>(name.size()));
  append_bytes(infos_, name.data(), name.size());
  append_scalar(infos_, static_cast<std::uint32_t>(shape.size()));
  std::uint64_t rows = 1;
  for (std::size_t i = shape.size(); i-- > 0;) {
    append_scalar(infos_, static_cast<std::uint64_t>(shape[i]));
    if (i + 1 < shape.size()) rows *= shape[i];
  }
  append_scalar(infos_, static_cast<std::uint32_t>(type));
  append_scalar(infos_, data_bytes_);
  tensors_.push_back({rows * row_bytes(type, shape.back())});
  data_bytes_ += padded(tensors_.back().bytes);
}

void GgufWriter::begin_data() {
  std::vector<std::uint8_t> head;
  append_bytes(head, "GGUF", 4);
  append_scalar(head, std::uint32_t{3});
  append_scalar(head, static_cast<std::uint64_t>(tensors_.size()));
  append_scalar(head, n_metadata_);
  file_.write(head);
  file_.write(metadata_);
  file_.write(infos_);
  const std::array<std::uint8_t, kAlignment> zeros{};
  file_.write({zeros.data(), static_cast<std::size_t>(padded(file_.offset()) - file_.offset())});
  metadata_ = {};
  infos_ = {};
}

void GgufWriter::append(std::span<const std::uint8_t> bytes) {
  GS_CHECK(current_ < tensors_.size() && bytes.size() <= tensors_[current_].bytes - in_current_);
  file_.write(bytes);
  in_current_ += bytes.size();
  if (in_current_ < tensors_[current_].bytes) return;
  const std::array<std::uint8_t, kAlignment> zeros{};
  file_.write({zeros.data(), static_cast<std::size_t>(padded(in_current_) - in_current_)});
  ++current_;
  in_current_ = 0;
}

void GgufWriter::commit() {
  GS_CHECK(current_ == tensors_.size());
  file_.commit();
}

}  // namespace gritstone
