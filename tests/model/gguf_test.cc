// The GGUF reader and writer on files as they should be; hostile_gguf_test.cc has the others.
#include <gtest/gtest.h>

#include "model/files/gguf_config.h"
#include "model/files/gguf_reader.h"
#include "model/files/gguf_writer.h"
#include "tests/base/expect_error.h"
#include "tests/base/temp_directory.h"
#include "tests/model/gguf_bytes.h"
#include "tests/model/micro_model.h"

namespace gritstone {
namespace {

TEST(Gguf, WriterAndReaderAgree) {
  const TempDirectory directory;
  const std::vector<std::string> words = {"", "a", "Ġthe", std::string("nul\0byte", 8)};
  {
    GgufWriter writer(directory / "a.gguf");
    writer.add_u32("x.u32", 7);
    writer.add_f32("x.f32", 0.5f);
    writer.add_bool("x.bool", true);
    writer.add_string("x.text", "värde");
    writer.add_strings("x.words", words);
    writer.add_i32s("x.ints", {-1, 2, 3});
    writer.add_f32s("x.floats", {1.5f});
    writer.add_i32s("x.none", {});
    writer.add_tensor("one", DType::kF32, {3});
    writer.add_tensor("two", DType::kQ8_0, {2, 64});
    writer.add_tensor("three", DType::kF16, {2, 3, 5});
    writer.begin_data();
    const std::vector<std::uint8_t> zeros(136, 9);
    writer.append({zeros.data(), 12});
    writer.append({zeros.data(), 68});  // a tensor may come in pieces
    writer.append({zeros.data(), 68});
    writer.append({zeros.data(), 60});
    writer.commit();
  }
  const std::vector<std::uint8_t> bytes = file_bytes(directory / "a.gguf");
  const GgufFile file(bytes, "a.gguf");
  EXPECT_EQ(file.version(), 3u);
  EXPECT_EQ(file.unsigned_integer("x.u32"), 7u);
  EXPECT_EQ(file.number("x.u32"), 7.0);
  EXPECT_EQ(file.number("x.f32"), 0.5);
  EXPECT_EQ(file.boolean("x.bool"), true);
  EXPECT_EQ(file.text("x.text"), "värde");
  EXPECT_FALSE(file.text("x.absent"));
  std::vector<std::string> strings;
  EXPECT_TRUE(file.read_strings("x.words", strings));
  EXPECT_EQ(strings, words);
  std::vector<std::int32_t> ints;
  EXPECT_TRUE(file.read_integers("x.ints", ints));
  EXPECT_EQ(ints, (std::vector<std::int32_t>{-1, 2, 3}));
  EXPECT_TRUE(file.read_integers("x.none", ints));
  EXPECT_TRUE(ints.empty());
  EXPECT_FALSE(file.read_integers("x.absent", ints));
  EXPECT_GS_ERROR(file.unsigned_integer("x.text"), ErrorCode::kModelRejected, "x.text is string");
  EXPECT_GS_ERROR(file.read_floats("x.ints", *std::make_unique<std::vector<float>>()), ErrorCode::kModelRejected, "array of int32");

  ASSERT_EQ(file.tensors().size(), 3u);
  EXPECT_EQ(file.tensors()[0].dims, std::vector<std::uint64_t>{3});
  EXPECT_EQ(file.tensors()[1].dims, (std::vector<std::uint64_t>{64, 2}));
  EXPECT_EQ(file.tensors()[1].type, DType::kQ8_0);
  EXPECT_EQ(file.tensors()[1].bytes, 136u);
  EXPECT_EQ(file.tensors()[2].dims, (std::vector<std::uint64_t>{5, 3, 2}));
  for (const GgufTensor& tensor : file.tensors()) {
    EXPECT_EQ(tensor.offset % 32, 0u);
    EXPECT_EQ(bytes[tensor.offset], 9);
    EXPECT_EQ(bytes[tensor.offset + tensor.bytes - 1], 9);
  }
}

TEST(Gguf, ReadsVersion2AndEveryScalarType) {
  GgufBytes b = llama_bytes();
  b.version = 2;
  b.value("t.u8", 0, std::uint8_t{200}).value("t.i8", 1, std::int8_t{-3}).value("t.u16", 2, std::uint16_t{60000});
  b.value("t.i16", 3, std::int16_t{5}).value("t.i32", 5, std::int32_t{6}).value("t.u64", 10, std::uint64_t{1} << 40);
  b.value("t.i64", 11, std::int64_t{8}).value("t.f64", 12, 0.25).value("t.bool", 7, std::uint8_t{0});
  const auto bytes = b.bytes();
  const GgufFile file(bytes, "v2");
  EXPECT_EQ(file.unsigned_integer("t.u8"), 200u);
  EXPECT_EQ(file.unsigned_integer("t.u16"), 60000u);
  EXPECT_EQ(file.unsigned_integer("t.i16"), 5u);
  EXPECT_EQ(file.unsigned_integer("t.i32"), 6u);
  EXPECT_EQ(file.unsigned_integer("t.u64"), std::uint64_t{1} << 40);
  EXPECT_EQ(file.unsigned_integer("t.i64"), 8u);
  EXPECT_EQ(file.number("t.f64"), 0.25);
  EXPECT_EQ(file.boolean("t.bool"), false);
  EXPECT_GS_ERROR(file.unsigned_integer("t.i8"), ErrorCode::kModelRejected, "not negative");
  EXPECT_EQ(gguf_config(file, "v2").hidden, 8u);
}

TEST(Gguf, HonoursAlignment) {
  for (const std::uint32_t alignment : {8u, 64u, 4096u}) {
    GgufBytes b;
    b.alignment = alignment;
    b.u32("general.alignment", alignment);
    b.tensor("a", {3}).tensor("b", {5});
    b.data[(12 + alignment - 1) / alignment * alignment] = 77;  // where b begins: a has 12 bytes
    const auto bytes = b.bytes();
    const GgufFile file(bytes, "aligned");
    EXPECT_EQ(file.alignment(), alignment);
    EXPECT_EQ(file.tensors()[1].offset % alignment, 0u);
    EXPECT_EQ(bytes[file.tensors()[1].offset], 77);
  }
}

TEST(Gguf, ConfigComesFromTheKeysLlamaCppWrites) {
  GgufBytes b = llama_bytes();
  b.text("general.name", "GritLM 7B").u32("llama.attention.head_count_kv", 2).f32("llama.rope.freq_base", 500000.0f);
  b.u32("llama.rope.dimension_count", 4).u32("tokenizer.ggml.bos_token_id", 1).u32("tokenizer.ggml.eos_token_id", 4);
  b.u32("tokenizer.ggml.padding_token_id", 0xFFFFFFFF).text("tokenizer.chat_template", "{{ x }}").u32("llama.attention.sliding_window", 16);
  const auto bytes = b.bytes();
  const ModelConfig c = gguf_config(GgufFile(bytes, "c"), "c");
  EXPECT_EQ(c.architecture, Architecture::kLlama);
  EXPECT_EQ(c.name, "GritLM 7B");
  EXPECT_EQ(c.layers, 1u);
  EXPECT_EQ(c.heads, 2u);
  EXPECT_EQ(c.kv_heads, 2u);
  EXPECT_EQ(c.head_dim, 4u);
  EXPECT_EQ(c.ffn, 16u);
  EXPECT_EQ(c.vocab, 5u);
  EXPECT_EQ(c.context, 16u);  // up to the sliding window
  EXPECT_EQ(c.rope_theta, 500000.0f);
  EXPECT_EQ(c.rope_style, RopeStyle::kInterleaved);
  EXPECT_TRUE(c.tied_embeddings);
  EXPECT_FALSE(c.qk_norm);
  EXPECT_EQ(c.bos, 1);
  EXPECT_EQ(c.eos, 4);
  EXPECT_EQ(c.pad, -1);
  EXPECT_EQ(c.chat_template, "{{ x }}");
  EXPECT_TRUE(c.grit_tuned);
}

TEST(Gguf, OlmoeConfigRoundTrips) {
  const TempDirectory directory;
  ModelConfig config = micro_config(Architecture::kOlmoe);
  config.kv_heads = 2;
  config.norm_topk_prob = true;
  config.clip_qkv = 0.75f;
  config.grit_tuned = true;
  config.rope_theta = 12345.0f;
  write_micro_gguf(directory / "m.gguf", config);
  const auto bytes = file_bytes(directory / "m.gguf");
  const ModelConfig c = gguf_config(GgufFile(bytes, "m"), "m");
  EXPECT_EQ(c.architecture, Architecture::kOlmoe);
  EXPECT_EQ(c.rope_style, RopeStyle::kNeox);
  EXPECT_TRUE(c.qk_norm);
  EXPECT_EQ(c.kv_heads, 2u);
  EXPECT_EQ(c.experts, 3u);
  EXPECT_EQ(c.experts_used, 2u);
  EXPECT_TRUE(c.norm_topk_prob);
  EXPECT_EQ(c.clip_qkv, 0.75f);
  EXPECT_TRUE(c.grit_tuned);
  EXPECT_EQ(c.rope_theta, 12345.0f);
  EXPECT_FALSE(c.tied_embeddings);
}

}  // namespace
}  // namespace gritstone
