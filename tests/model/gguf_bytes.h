// Builds GGUF files byte by byte, right or wrong: the writer of the product cannot write what a reader must refuse.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace gritstone {

struct GgufBytes {
  std::uint32_t magic = 0x46554747;
  std::uint32_t version = 3;
  std::uint64_t n_tensors = 0;   // counted by tensor(); may be overwritten
  std::uint64_t n_metadata = 0;  // counted by the functions that add keys
  std::vector<std::uint8_t> metadata;
  std::vector<std::uint8_t> infos;
  std::vector<std::uint8_t> data;
  std::size_t alignment = 32;

  template <typename T>
  static void put(std::vector<std::uint8_t>& out, T value) {
    out.resize(out.size() + sizeof(T));
    std::memcpy(out.data() + out.size() - sizeof(T), &value, sizeof(T));
  }
  static void put_text(std::vector<std::uint8_t>& out, std::string_view text) {
    put(out, static_cast<std::uint64_t>(text.size()));
    out.insert(out.end(), text.begin(), text.end());
  }

  GgufBytes& key(std::string_view name, std::uint32_t type) {
    put_text(metadata, name);
    put(metadata, type);
    ++n_metadata;
    return *this;
  }
  template <typename T>
  GgufBytes& value(std::string_view name, std::uint32_t type, T scalar) {
    key(name, type);
    put(metadata, scalar);
    return *this;
  }
  GgufBytes& u32(std::string_view name, std::uint32_t v) { return value(name, 4, v); }
  GgufBytes& f32(std::string_view name, float v) { return value(name, 6, v); }
  GgufBytes& text(std::string_view name, std::string_view v) {
    key(name, 8);
    put_text(metadata, v);
    return *this;
  }
  // Head of an array; the elements follow by put() into `metadata`.
  GgufBytes& array(std::string_view name, std::uint32_t element, std::uint64_t count) {
    key(name, 9);
    put(metadata, element);
    put(metadata, count);
    return *this;
  }
  // Tensor info with any dimensions (fastest first), type and offset.
  GgufBytes& info(std::string_view name, const std::vector<std::uint64_t>& dims, std::uint32_t type, std::uint64_t offset) {
    put_text(infos, name);
    put(infos, static_cast<std::uint32_t>(dims.size()));
    for (const std::uint64_t d : dims) put(infos, d);
    put(infos, type);
    put(infos, offset);
    ++n_tensors;
    return *this;
  }
  // A consistent f32 tensor at the end of the data.
  GgufBytes& tensor(std::string_view name, const std::vector<std::uint64_t>& dims) {
    while (data.size() % alignment != 0) data.push_back(0);
    info(name, dims, 0, data.size());
    std::uint64_t n = 4;
    for (const std::uint64_t d : dims) n *= d;
    data.resize(data.size() + n);
    return *this;
  }

  std::vector<std::uint8_t> bytes() const {
    std::vector<std::uint8_t> out;
    put(out, magic);
    put(out, version);
    put(out, n_tensors);
    put(out, n_metadata);
    out.insert(out.end(), metadata.begin(), metadata.end());
    out.insert(out.end(), infos.begin(), infos.end());
    while (alignment > 0 && out.size() % alignment != 0) out.push_back(0);
    out.insert(out.end(), data.begin(), data.end());
    return out;
  }
};

// A complete llama model of one layer: hidden 8, 2 heads of 4, ffn 16, vocabulary 5.
inline GgufBytes llama_bytes() {
  GgufBytes b;
  b.text("general.architecture", "llama").u32("llama.block_count", 1).u32("llama.embedding_length", 8).u32("llama.attention.head_count", 2);
  b.u32("llama.feed_forward_length", 16).u32("llama.context_length", 32).f32("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  b.tensor("token_embd.weight", {8, 5}).tensor("output_norm.weight", {8});
  b.tensor("blk.0.attn_norm.weight", {8}).tensor("blk.0.ffn_norm.weight", {8});
  for (const char* name : {"attn_q", "attn_k", "attn_v", "attn_output"}) b.tensor("blk.0." + std::string(name) + ".weight", {8, 8});
  b.tensor("blk.0.ffn_gate.weight", {8, 16}).tensor("blk.0.ffn_up.weight", {8, 16}).tensor("blk.0.ffn_down.weight", {16, 8});
  return b;
}

}  // namespace gritstone
