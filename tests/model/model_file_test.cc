// ModelFile over both formats: the same model must come out whatever the file.
#include "model/model_file.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include "base/checked_file.h"
#include "model/files/hash_cache.h"
#include "tests/base/expect_error.h"
#include "tests/base/temp_directory.h"
#include "tests/model/micro_model.h"

namespace gritstone {
namespace {

void expect_micro_values(const ModelFile& model, const ModelConfig& config) {
  for (const ExpectedTensor& expected : expected_tensors(config)) {
    const TensorRef* tensor = model.find(expected.name);
    ASSERT_NE(tensor, nullptr) << expected.name;
    EXPECT_EQ(tensor->shape, expected.shape) << expected.name;
    EXPECT_EQ(values_of(*tensor), micro_values(expected.name, count_of(expected.shape))) << expected.name;
    EXPECT_EQ(tensor->bytes, row_bytes(tensor->type, count_of(tensor->shape)));
  }
  EXPECT_EQ(model.find("no.such.tensor"), nullptr);
}

void write_micro_hf(const std::filesystem::path& directory, const ModelConfig& config, bool fused = false, const std::string& more = "") {
  std::filesystem::create_directories(directory);
  write_text(directory / "config.json", micro_config_json(config, more));
  write_safetensors(directory / "model.safetensors", micro_hf_tensors(config, fused));
}

// Tensors spread over two shards.
void write_shards(const std::filesystem::path& directory, const ModelConfig& config) {
  std::filesystem::create_directories(directory);
  write_text(directory / "config.json", micro_config_json(config));
  std::vector<HfTensor> parts[2];
  std::string map;
  for (HfTensor& tensor : micro_hf_tensors(config, false)) {
    const std::size_t shard = std::hash<std::string>()(tensor.name) % 2;
    map += (map.empty() ? "\"" : ", \"") + tensor.name + "\": \"model-" + std::to_string(shard) + ".safetensors\"";
    parts[shard].push_back(std::move(tensor));
  }
  for (std::size_t i = 0; i < 2; ++i) write_safetensors(directory / ("model-" + std::to_string(i) + ".safetensors"), parts[i]);
  write_text(directory / "model.safetensors.index.json", "{\"weight_map\": {" + map + "}}");
}

TEST(ModelFile, OpensGguf) {
  const TempDirectory directory;
  for (const Architecture architecture : {Architecture::kOlmoe, Architecture::kLlama}) {
    for (const DType type : {DType::kF32, DType::kF16, DType::kBF16}) {
      const ModelConfig config = micro_config(architecture);
      write_micro_gguf(directory / "m.gguf", config, type);
      const auto model = ModelFile::open(directory / "m.gguf");
      EXPECT_EQ(model->config().architecture, architecture);
      EXPECT_EQ(model->config().rope_style, architecture == Architecture::kOlmoe ? RopeStyle::kNeox : RopeStyle::kInterleaved);
      EXPECT_EQ(model->bytes(), std::filesystem::file_size(directory / "m.gguf"));
      expect_micro_values(*model, config);
      for (const TensorRef& tensor : model->tensors()) model->release(tensor);
      expect_micro_values(*model, config);  // released pages come back from the file
    }
  }
}

TEST(ModelFile, OpensHuggingFaceDirectories) {
  const TempDirectory directory;
  for (const bool fused : {false, true}) {
    const ModelConfig config = micro_config(Architecture::kOlmoe);
    write_micro_hf(directory / "olmoe", config, fused);
    const auto model = ModelFile::open(directory / "olmoe");
    EXPECT_EQ(model->config().name, "olmoe");
    EXPECT_TRUE(model->config().qk_norm);
    EXPECT_EQ(model->config().rope_style, RopeStyle::kNeox);
    EXPECT_EQ(model->find("blk.0.ffn_gate_exps.weight")->parts.size(), 3u);
    expect_micro_values(*model, config);
    for (const TensorRef& tensor : model->tensors()) model->release(tensor);
    expect_micro_values(*model, config);
  }
  const ModelConfig llama = micro_config(Architecture::kLlama);
  write_micro_hf(directory / "llama", llama);
  const auto model = ModelFile::open(directory / "llama");
  EXPECT_EQ(model->config().kv_heads, 2u);
  EXPECT_EQ(model->config().rope_style, RopeStyle::kNeox);
  expect_micro_values(*model, llama);
}

TEST(ModelFile, OpensShards) {
  const TempDirectory directory;
  const ModelConfig config = micro_config(Architecture::kOlmoe);
  write_shards(directory / "m", config);
  expect_micro_values(*ModelFile::open(directory / "m"), config);

  std::filesystem::remove(directory / "m" / "model-1.safetensors");
  EXPECT_GS_ERROR(ModelFile::open(directory / "m"), ErrorCode::kModelRejected, "model-1.safetensors is missing");
  write_safetensors(directory / "m" / "model-1.safetensors", {{"model.norm.weight", {32}, micro_values("", 32)}});
  EXPECT_GS_ERROR(ModelFile::open(directory / "m"), ErrorCode::kModelRejected, "index");
}

TEST(ModelFile, TiedEmbeddings) {
  const TempDirectory directory;
  ModelConfig config = micro_config(Architecture::kLlama);
  config.tied_embeddings = true;
  write_micro_gguf(directory / "m.gguf", config);
  write_micro_hf(directory / "m", config);
  for (const char* name : {"m.gguf", "m"}) {
    const auto model = ModelFile::open(directory / name);
    EXPECT_TRUE(model->config().tied_embeddings);
    EXPECT_EQ(model->find("output.weight"), nullptr);
    expect_micro_values(*model, config);
  }
  // Some checkpoints store the matrix a second time.
  auto tensors = micro_hf_tensors(config, false);
  tensors.push_back({"lm_head.weight", {12, 32}, micro_values("other", 12 * 32)});
  write_safetensors(directory / "m" / "model.safetensors", tensors);
  EXPECT_EQ(ModelFile::open(directory / "m")->find("output.weight"), nullptr);
}

TEST(ModelFile, HuggingFaceConfigKeys) {
  const TempDirectory directory;
  ModelConfig olmoe = micro_config(Architecture::kOlmoe);
  write_micro_hf(directory / "a", olmoe, false,
                 R"(, "rope_theta": 1234.5, "norm_topk_prob": true, "clip_qkv": 0.5, "eos_token_id": [3, 4], "pad_token_id": 50279)");
  ModelConfig c = ModelFile::open(directory / "a")->config();
  EXPECT_EQ(c.rope_theta, 1234.5f);
  EXPECT_TRUE(c.norm_topk_prob);
  EXPECT_EQ(c.clip_qkv, 0.5f);
  EXPECT_EQ(c.eos, 3);
  EXPECT_EQ(c.pad, -1);  // outside the vocabulary: none
  EXPECT_EQ(c.bos, -1);

  write_micro_hf(directory / "b", olmoe, false,
                 R"(, "rope_parameters": {"rope_theta": 777.0, "rope_type": "default"}, "clip_qkv": null, "gritstone_tuning": "grit")");
  write_text(directory / "b" / "tokenizer_config.json",
             R"({"chat_template": [{"name": "tool_use", "template": "x"}, {"name": "default", "template": "<|user|>"}]})");
  c = ModelFile::open(directory / "b")->config();
  EXPECT_EQ(c.rope_theta, 777.0f);
  EXPECT_EQ(c.clip_qkv, 0.0f);
  EXPECT_EQ(c.pad, 1);  // OlmoeConfig's default
  EXPECT_TRUE(c.grit_tuned);
  EXPECT_EQ(c.chat_template, "<|user|>");
  write_text(directory / "b" / "chat_template.jinja", "from the file");
  EXPECT_EQ(ModelFile::open(directory / "b")->config().chat_template, "from the file");
}

TEST(ModelFile, HuggingFaceDirectoriesThatAreRejected) {
  const TempDirectory directory;
  const std::filesystem::path m = directory / "m";
  const ModelConfig config = micro_config(Architecture::kOlmoe);
  const auto rewrite = [&](const std::string& more, const std::function<void(std::vector<HfTensor>&)>& change = {}) {
    std::filesystem::create_directories(m);
    write_text(m / "config.json", micro_config_json(config, more));
    auto tensors = micro_hf_tensors(config, false);
    if (change) change(tensors);
    write_safetensors(m / "model.safetensors", tensors);
  };
  const auto expect_rejected = [&](const char* part) { EXPECT_GS_ERROR(ModelFile::open(m), ErrorCode::kModelRejected, part); };

  rewrite("");
  EXPECT_NO_THROW(ModelFile::open(m));
  rewrite(R"(, "attention_bias": true)");
  expect_rejected("biases");
  rewrite(R"(, "rope_scaling": {"rope_type": "llama3", "factor": 8.0})");
  expect_rejected("RoPE scaling of type \"llama3\"");
  rewrite(R"(, "rope_parameters": {"rope_type": "yarn", "rope_theta": 1.0})");
  expect_rejected("yarn");
  rewrite(R"(, "quantization_config": {"bits": 4})");
  expect_rejected("quantised");
  rewrite(R"(, "hidden_act": "gelu")");
  expect_rejected("gelu");
  rewrite(R"(, "head_dim": -8)");
  expect_rejected("negative");
  rewrite(R"(, "head_dim": 16)");
  expect_rejected("attn_q.weight has shape [32, 32], the hyperparameters ask for [64, 32]");
  rewrite(R"(, "hidden_size": 32)");
  expect_rejected("duplicate key");

  rewrite("", [](auto& t) { t.pop_back(); });
  expect_rejected("output.weight is missing");
  rewrite("", [](auto& t) { t.erase(t.begin() + 9); });
  expect_rejected("is missing");
  rewrite("", [](auto& t) { t.push_back({"model.layers.0.self_attn.q_proj.bias", {32}, micro_values("", 32)}); });
  expect_rejected("biases");
  rewrite("", [](auto& t) { t.push_back({"model.layers.0.mlp.shared_expert.weight", {2}, {1, 2}}); });
  expect_rejected("not part of the architecture");
  rewrite("", [](auto& t) { t.push_back({"model.layers.7.input_layernorm.weight", {32}, micro_values("", 32)}); });
  expect_rejected("blk.7.attn_norm.weight");
  rewrite("", [](auto& t) { t.push_back({"model.layers.0.mlp.experts.3.up_proj.weight", {32, 32}, micro_values("", 1024)}); });
  expect_rejected("the model has 3 experts");
  rewrite("", [](auto& t) { t.push_back({"model.layers.0.mlp.experts.up_proj", {1}, {1}}); });
  expect_rejected("not part of the architecture");
  rewrite("", [](auto& t) { t.push_back({"score.weight", {1}, {1}}); });
  EXPECT_NO_THROW(ModelFile::open(m));  // a classification head beside the model changes nothing

  write_text(m / "config.json", "{\"architectures\": [\"GPT2LMHeadModel\"]}");
  expect_rejected("\"GPT2LMHeadModel\" is not supported");
  write_text(m / "config.json", "not json");
  expect_rejected("config.json");
  std::filesystem::remove(m / "config.json");
  expect_rejected("config.json is missing");
  rewrite("");
  std::filesystem::remove(m / "model.safetensors");
  expect_rejected("neither model.safetensors nor");
  rewrite("");
  EXPECT_GS_ERROR(ModelFile::open(m)->tokenizer(), ErrorCode::kModelRejected, "tokenizer.json is missing");
}

TEST(ModelFile, WrongPaths) {
  const TempDirectory directory;
  EXPECT_GS_ERROR(ModelFile::open(directory / "absent.gguf"), ErrorCode::kNotFound, "absent.gguf");
  write_text(directory / "empty.gguf", "");
  EXPECT_GS_ERROR(ModelFile::open(directory / "empty.gguf"), ErrorCode::kModelRejected, "empty.gguf");
  write_text(directory / "model.safetensors", "x");
  EXPECT_GS_ERROR(ModelFile::open(directory / "model.safetensors"), ErrorCode::kModelRejected, "name the directory");
  EXPECT_GS_ERROR(ModelFile::open("/dev/null"), ErrorCode::kModelRejected, "/dev/null");
  write_micro_gguf(directory / "m.gguf", micro_config(Architecture::kOlmoe));
  EXPECT_GS_ERROR(ModelFile::open(directory / "m.gguf")->tokenizer(), ErrorCode::kModelRejected, "no tokenizer");
}

// Points the cache at a directory of its own and restores the environment.
class CacheHome {
 public:
  explicit CacheHome(const std::filesystem::path& path) {
    if (const char* old = ::getenv("XDG_CACHE_HOME")) old_ = old;
    ::setenv("XDG_CACHE_HOME", path.c_str(), 1);
  }
  ~CacheHome() { old_.empty() ? ::unsetenv("XDG_CACHE_HOME") : ::setenv("XDG_CACHE_HOME", old_.c_str(), 1); }

 private:
  std::string old_;
};

TEST(HashCache, RemembersAndDistrustsDamage) {
  const TempDirectory directory;
  const CacheHome home(directory / "cache");
  const std::filesystem::path file = directory / "f";
  write_text(file, "abc");
  const std::string abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  EXPECT_EQ(remembered_sha256(file), abc);
  const std::filesystem::path hashes = directory / "cache" / "gritstone" / "hashes";
  ASSERT_EQ(std::distance(std::filesystem::directory_iterator(hashes), {}), 1);
  const std::filesystem::path entry = std::filesystem::directory_iterator(hashes)->path();
  EXPECT_EQ(remembered_sha256(file), abc);

  // A changed entry is refused by its checksum, so the file is hashed again.
  const std::string good = read_file(entry, 4096);
  for (std::size_t i = 0; i < good.size(); i += 11) {  // every rewrite costs an fsync
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 1);
    write_text(entry, bad);
    ASSERT_EQ(remembered_sha256(file), abc) << "damaged byte " << i;
    ASSERT_EQ(read_file(entry, 4096), good) << "the entry is rewritten";
  }
  write_text(entry, good.substr(0, good.size() / 2));
  EXPECT_EQ(remembered_sha256(file), abc);

  // Another content has another hash, whatever was remembered.
  write_text(file, "abcd");
  EXPECT_NE(remembered_sha256(file), abc);
}

TEST(HashCache, WorksWithoutAWritableHome) {
  const TempDirectory directory;
  write_text(directory / "cache", "a file where the directory should be");
  const CacheHome home(directory / "cache");
  write_text(directory / "f", "abc");
  EXPECT_EQ(remembered_sha256(directory / "f"), remembered_sha256(directory / "f"));
  EXPECT_GS_ERROR(remembered_sha256(directory / "absent"), ErrorCode::kNotFound, "absent");
}

TEST(HashCache, DirectoryHashCoversEveryFileThatMatters) {
  const TempDirectory directory;
  const CacheHome home(directory / "cache");
  const ModelConfig config = micro_config(Architecture::kLlama);
  write_micro_hf(directory / "m", config);
  const std::string before = ModelFile::open(directory / "m")->hash();
  EXPECT_EQ(before.size(), 64u);
  write_text(directory / "m" / "README.md", "not part of the model");
  EXPECT_EQ(ModelFile::open(directory / "m")->hash(), before);
  write_text(directory / "m" / "tokenizer.json", "{}");
  const std::string with_tokenizer = ModelFile::open(directory / "m")->hash();
  EXPECT_NE(with_tokenizer, before);
  write_text(directory / "m" / "config.json", micro_config_json(config, R"(, "bos_token_id": 2)"));
  EXPECT_NE(ModelFile::open(directory / "m")->hash(), with_tokenizer);
}

}  // namespace
}  // namespace gritstone
