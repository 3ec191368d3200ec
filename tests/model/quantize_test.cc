#include <gtest/gtest.h>

#include <cmath>

#include "model/files/gguf_reader.h"
#include "model/quantize_file.h"
#include "model/synth_vocab.h"
#include "tests/base/expect_error.h"
#include "tests/base/temp_directory.h"
#include "tests/model/micro_model.h"

namespace gritstone {
namespace {

std::unique_ptr<ModelFile> convert(const ModelFile& source, const std::filesystem::path& path, DType type) {
  QuantizeOptions options;
  options.type = type;
  options.threads = 2;
  quantize_model(source, path, options);
  return ModelFile::open(path);
}

void write_hf(const std::filesystem::path& directory, const ModelConfig& config) {
  std::filesystem::create_directories(directory);
  write_text(directory / "config.json", micro_config_json(config));
  write_safetensors(directory / "model.safetensors", micro_hf_tensors(config, false));
}

TEST(Quantize, FittingTypes) {
  EXPECT_EQ(fitting_type(DType::kQ4_K, 2048), DType::kQ4_K);
  EXPECT_EQ(fitting_type(DType::kQ4_K, 576), DType::kQ5_0);
  EXPECT_EQ(fitting_type(DType::kQ2_K, 576), DType::kQ4_0);
  EXPECT_EQ(fitting_type(DType::kQ6_K, 576), DType::kQ8_0);
  EXPECT_EQ(fitting_type(DType::kQ8_0, 576), DType::kQ8_0);
  EXPECT_EQ(fitting_type(DType::kQ8_0, 8), DType::kF16);
  EXPECT_EQ(fitting_type(DType::kBF16, 7), DType::kBF16);
}

TEST(Quantize, LlamaRowsAreInterleavedForGguf) {
  const TempDirectory directory;
  const ModelConfig config = micro_config(Architecture::kLlama);
  write_hf(directory / "m", config);
  const auto source = ModelFile::open(directory / "m");
  const auto model = convert(*source, directory / "m.gguf", DType::kF32);
  EXPECT_EQ(model->config().rope_style, RopeStyle::kInterleaved);
  for (const ExpectedTensor& tensor : expected_tensors(config)) {
    const auto before = values_of(*source->find(tensor.name)), after = values_of(*model->find(tensor.name));
    const bool permuted = tensor.name.ends_with("attn_q.weight") || tensor.name.ends_with("attn_k.weight");
    ASSERT_EQ(before == after, !permuted) << tensor.name;
    if (!permuted) continue;
    // Pair i of a head: rows (i, i + 4) of Hugging Face are rows (2 i, 2 i + 1) of GGUF; heads have 8 rows.
    for (std::size_t head = 0; head < tensor.shape[0] / 8; ++head) {
      for (std::size_t i = 0; i < 4; ++i) {
        for (std::size_t half = 0; half < 2; ++half) {
          const std::size_t from = (head * 8 + half * 4 + i) * 32, to = (head * 8 + 2 * i + half) * 32;
          for (std::size_t c = 0; c < 32; ++c)
            ASSERT_EQ(after[to + c], before[from + c]) << tensor.name << " head " << head << " pair " << i;
        }
      }
    }
  }
  // Once in GGUF's order, rows stay.
  const auto again = convert(*model, directory / "n.gguf", DType::kF16);
  EXPECT_EQ(values_of(*again->find("blk.1.attn_q.weight")), values_of(*model->find("blk.1.attn_q.weight")));
}

TEST(Quantize, OlmoeLosesGroupingAndTying) {
  // llama.cpp's loader knows neither.
  const TempDirectory directory;
  ModelConfig config = micro_config(Architecture::kOlmoe);
  config.kv_heads = 2;
  config.tied_embeddings = true;
  write_hf(directory / "m", config);
  const auto source = ModelFile::open(directory / "m");
  const auto model = convert(*source, directory / "m.gguf", DType::kF32);
  EXPECT_EQ(model->config().kv_heads, 4u);
  EXPECT_FALSE(model->config().tied_embeddings);
  EXPECT_EQ(values_of(*model->find("output.weight")), values_of(*source->find("token_embd.weight")));
  for (const char* name : {"blk.1.attn_k.weight", "blk.1.attn_v.weight", "blk.1.attn_k_norm.weight"}) {
    const auto before = values_of(*source->find(name)), after = values_of(*model->find(name));
    ASSERT_EQ(after.size(), 2 * before.size()) << name;
    const std::size_t head = before.size() / 2;  // elements of one key-value head
    for (std::size_t i = 0; i < after.size(); ++i) ASSERT_EQ(after[i], before[i / head / 2 * head + i % head]) << name << " " << i;
  }
  EXPECT_EQ(values_of(*model->find("blk.0.ffn_up_exps.weight")), values_of(*source->find("blk.0.ffn_up_exps.weight")));
  // The same from a GGUF source, where the key has to be restated.
  write_micro_gguf(directory / "grouped.gguf", config);
  EXPECT_EQ(convert(*ModelFile::open(directory / "grouped.gguf"), directory / "n.gguf", DType::kF32)->config().kv_heads, 4u);
}

TEST(Quantize, TypesByRole) {
  const TempDirectory directory;
  write_micro_gguf(directory / "m.gguf", micro_config(Architecture::kOlmoe));
  const auto source = ModelFile::open(directory / "m.gguf");
  const auto model = convert(*source, directory / "q.gguf", DType::kQ4_0);
  EXPECT_EQ(model->find("blk.0.attn_norm.weight")->type, DType::kF32);
  EXPECT_EQ(model->find("blk.0.ffn_gate_inp.weight")->type, DType::kF32);
  EXPECT_EQ(model->find("blk.0.attn_q.weight")->type, DType::kQ4_0);
  EXPECT_EQ(model->find("token_embd.weight")->type, DType::kQ4_0);
  EXPECT_EQ(model->find("output.weight")->type, DType::kQ8_0);  // Q6_K asked for, 32 columns
  EXPECT_EQ(model->find("blk.1.ffn_down_exps.weight")->type, DType::kQ4_0);
  for (const TensorRef& tensor : model->tensors()) {
    const auto before = values_of(*source->find(tensor.name)), after = values_of(tensor);
    double error = 0, power = 0;
    for (std::size_t i = 0; i < before.size(); ++i) error += std::pow(after[i] - before[i], 2), power += std::pow(before[i], 2);
    EXPECT_LT(std::sqrt(error / power), tensor.type == DType::kQ4_0 ? 0.09 : tensor.type == DType::kQ8_0 ? 0.006 : 1e-9) << tensor.name;
  }
  QuantizeOptions options;
  options.type = DType::kQ4_0;
  options.output_type = DType::kF16;
  quantize_model(*source, directory / "o.gguf", options);
  EXPECT_EQ(ModelFile::open(directory / "o.gguf")->find("output.weight")->type, DType::kF16);
  // The type a tensor already has is copied code by code.
  const auto same = convert(*model, directory / "s.gguf", DType::kQ4_0);
  for (const TensorRef& tensor : same->tensors()) {
    if (tensor.name == "output.weight") continue;
    EXPECT_EQ(0, std::memcmp(tensor.data, model->find(tensor.name)->data, tensor.bytes)) << tensor.name;
  }
}

TEST(Quantize, MetadataAndTokenizerAreKept) {
  const TempDirectory directory;
  ModelConfig config = micro_config(Architecture::kOlmoe);
  config.vocab = 400;
  config.grit_tuned = true;
  write_micro_gguf(directory / "m.gguf", config, DType::kF32, [&](GgufWriter& writer) {
    writer.add_string("general.license", "apache-2.0");
    writer.add_u32("general.quantized_by_test", 5);
    write_vocab(writer, synthetic_vocab(320), 400);
  });
  const auto source = ModelFile::open(directory / "m.gguf");
  const auto model = convert(*source, directory / "q.gguf", DType::kQ8_0);
  EXPECT_TRUE(model->config().grit_tuned);
  const auto bytes = file_bytes(directory / "q.gguf");
  const GgufFile file(bytes, "q");
  EXPECT_EQ(file.text("general.license"), "apache-2.0");
  EXPECT_EQ(file.unsigned_integer("general.quantized_by_test"), 5u);
  EXPECT_EQ(file.unsigned_integer("general.file_type"), 7u);  // mostly Q8_0
  const auto tokenizer = model->tokenizer();
  EXPECT_EQ(tokenizer->fingerprint(), source->tokenizer()->fingerprint());
  EXPECT_EQ(tokenizer->vocab_size(), 400u);
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("Hello, wörld")), "Hello, wörld");
}

// A byte-level tokenizer.json of 258 tokens.
std::string tiny_tokenizer_json() {
  const GgufVocab vocab = synthetic_vocab(320);
  std::string tokens;
  for (std::size_t id = 0; id < 260; ++id) {
    const std::string& text = vocab.tokens[id];
    tokens += (id > 0 ? ", \"" : "\"") + (text == "\"" || text == "\\" ? "\\" + text : text) + "\": " + std::to_string(id);
  }
  std::string merges;
  for (std::size_t i = 0; i < 2; ++i) merges += (i > 0 ? ", \"" : "\"") + vocab.merges[i] + "\"";
  return R"({"added_tokens": [{"id": 260, "content": "<|end|>", "special": true}], "normalizer": {"type": "NFC"},
             "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true}, "decoder": {"type": "ByteLevel"},
             "model": {"type": "BPE", "vocab": {)" +
         tokens + "}, \"merges\": [" + merges + "]}}";
}

TEST(Quantize, TokenizerJsonBecomesGgufMetadata) {
  const TempDirectory directory;
  ModelConfig config = micro_config(Architecture::kOlmoe);
  config.vocab = 300;
  write_hf(directory / "m", config);
  write_text(directory / "m" / "tokenizer.json", tiny_tokenizer_json());
  const auto source = ModelFile::open(directory / "m");
  const auto model = convert(*source, directory / "m.gguf", DType::kF16);
  const auto from = source->tokenizer(), to = model->tokenizer();
  EXPECT_EQ(to->vocab_size(), 300u);  // filled up to the embedding rows
  EXPECT_EQ(to->find("<|end|>"), 260);
  EXPECT_TRUE(to->is_special(260));
  for (const char* text : {"eet et", "Hello <|end|> there", "zażółć"}) {
    EXPECT_EQ(to->encode(text), from->encode(text));
    EXPECT_EQ(to->encode(text, SpecialTokens::kParse), from->encode(text, SpecialTokens::kParse));
  }
  // More tokens than rows cannot be expressed.
  config.vocab = 200;
  write_hf(directory / "m", config);
  EXPECT_GS_ERROR(convert(*ModelFile::open(directory / "m"), directory / "n.gguf", DType::kF16), ErrorCode::kModelRejected, "200 rows");
  EXPECT_FALSE(std::filesystem::exists(directory / "n.gguf"));
}

TEST(Quantize, StopLeavesNothingBehind) {
  const TempDirectory directory;
  write_micro_gguf(directory / "m.gguf", micro_config(Architecture::kOlmoe));
  const auto source = ModelFile::open(directory / "m.gguf");
  std::stop_source stop;
  std::uint64_t last = 0, all = 0;
  const auto progress = [&](std::uint64_t done, std::uint64_t total) {
    EXPECT_GT(done, last);
    last = done, all = total;
    if (done > total / 2) stop.request_stop();
  };
  EXPECT_GS_ERROR(quantize_model(*source, directory / "q.gguf", {}, progress, stop.get_token()), ErrorCode::kCancelled, "stopped");
  EXPECT_LT(last, all);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory.path()), {}), 1);
  EXPECT_GS_ERROR(quantize_model(*source, directory / "m.gguf", {}), ErrorCode::kInvalidArgument, "would be read");
  EXPECT_GS_ERROR(quantize_model(*source, directory / "no/such/place.gguf", {}), ErrorCode::kStorage, "place.gguf");
}

}  // namespace
}  // namespace gritstone
