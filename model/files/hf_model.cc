#include "model/files/hf_model.h"

#include <map>
#include <set>

#include "base/checked_file.h"
#include "base/error.h"
#include "base/mapped_file.h"
#include "model/files/byte_reader.h"
#include "model/files/hash_cache.h"
#include "model/files/hf_config.h"
#include "model/files/hf_names.h"
#include "model/files/safetensors_reader.h"
#include "model/files/tensor_table.h"
#include "model/tokenizer/make_tokenizer.h"

namespace gritstone {
namespace {

constexpr std::uint64_t kMaxConfigBytes = 1 << 20;
constexpr std::uint64_t kMaxTokenizerBytes = 64 << 20;
constexpr std::uint64_t kMaxIndexBytes = 64 << 20;
constexpr std::size_t kMaxShards = 1000;

// A text file of the directory. A missing file gives "" if `optional`.
std::string read_text(const std::filesystem::path& path, std::uint64_t limit, bool optional) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) {
    if (optional) return {};
    throw Error(ErrorCode::kModelRejected, path.parent_path().string() + ": " + path.filename().string() + " is missing");
  }
  try {
    return read_file(path, limit);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kStorage) throw;
    throw Error(ErrorCode::kModelRejected, error.what());
  }
}

class HfModel final : public ModelFile {
 public:
  explicit HfModel(const std::filesystem::path& directory)
      : path_(directory), what_(directory.string()), config_(hf_config(read("config.json"), (directory / "config.json").string())) {
    config_.name = std::filesystem::weakly_canonical(directory).filename().string();
    if (config_.name.find("GritLM") != std::string::npos) config_.grit_tuned = true;
    config_.chat_template = read_text(path_ / "chat_template.jinja", kMaxConfigBytes, true);
    if (config_.chat_template.empty()) {
      config_.chat_template = hf_chat_template(read_text(path_ / "tokenizer_config.json", kMaxTokenizerBytes, true));
    }
    open_weights();
    join_experts();
    check_tensors(config_, tensors_, what_);
  }

  const std::filesystem::path& path() const noexcept override { return path_; }
  const ModelConfig& config() const noexcept override { return config_; }
  const std::vector<TensorRef>& tensors() const noexcept override { return tensors_; }

  std::uint64_t bytes() const noexcept override {
    std::uint64_t sum = 0;
    for (const auto& [name, mapping] : mappings_) sum += mapping.size();
    return sum;
  }

  std::unique_ptr<Tokenizer> tokenizer() const override {
    const std::string generation = read_text(path_ / "generation_config.json", kMaxConfigBytes, true);
    return make_tokenizer_from_hf(read_text(path_ / "tokenizer.json", kMaxTokenizerBytes, false),
                                  read_text(path_ / "tokenizer_config.json", kMaxTokenizerBytes, true),
                                  generation.empty() ? read("config.json") : generation);
  }

  std::string hash() const override {
    std::vector<std::filesystem::path> files;
    for (const auto& [name, mapping] : mappings_) files.push_back(path_ / name);
    for (const char* name : {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"}) {
      std::error_code ignored;
      if (std::filesystem::is_regular_file(path_ / name, ignored)) files.push_back(path_ / name);
    }
    return remembered_sha256(files);
  }

  void release(const TensorRef& tensor) const noexcept override {
    if (tensor.data != nullptr) release_range(tensor.data, tensor.bytes);
    for (const std::uint8_t* part : tensor.parts) release_range(part, tensor.bytes / tensor.parts.size());
  }

 private:
  std::string read(const char* name) const { return read_text(path_ / name, kMaxConfigBytes, false); }

  [[noreturn]] void reject(const std::string& reason) const { throw Error(ErrorCode::kModelRejected, what_ + ": " + reason); }

  void release_range(const std::uint8_t* data, std::size_t bytes) const noexcept {
    for (const auto& [name, mapping] : mappings_) {
      const std::uint8_t* begin = mapping.bytes().data();
      if (data >= begin && data < begin + mapping.size()) mapping.release(static_cast<std::size_t>(data - begin), bytes);
    }
  }

  // Maps model.safetensors, or the shards that the index names, and collects their tensors.
  void open_weights() {
    std::error_code ignored;
    if (std::filesystem::exists(path_ / "model.safetensors", ignored)) {
      add_file("model.safetensors", nullptr);
      return;
    }
    const std::filesystem::path index_path = path_ / "model.safetensors.index.json";
    if (!std::filesystem::exists(index_path, ignored)) reject("neither model.safetensors nor model.safetensors.index.json");
    const auto index = parse_safetensors_index(read_text(index_path, kMaxIndexBytes, false), index_path.string());
    std::set<std::string> shards;
    for (const auto& [tensor, file] : index) shards.insert(file);
    if (shards.size() > kMaxShards) reject(std::to_string(shards.size()) + " shards, the limit is " + std::to_string(kMaxShards));
    std::size_t found = 0;
    for (const std::string& shard : shards) found += add_file(shard, &index);
    if (found != index.size())
      reject("the index names " + std::to_string(index.size()) + " tensors, its shards hold " + std::to_string(found));
  }

  // Returns how many of the file's tensors the index assigns to it.
  std::size_t add_file(const std::string& name, const std::map<std::string, std::string>* index) {
    const std::string shown = (path_ / name).string();
    std::error_code ignored;
    if (!std::filesystem::is_regular_file(path_ / name, ignored)) reject(printable(name) + " is missing or not a regular file");
    const auto inserted = mappings_.emplace(name, MappedFile(path_ / name));
    const auto bytes = inserted.first->second.bytes();
    std::size_t indexed = 0;
    for (const SafetensorsTensor& tensor : parse_safetensors(bytes, shown)) {
      if (index != nullptr) {
        const auto entry = index->find(tensor.name);
        if (entry == index->end() || entry->second != name)
          reject(printable(name) + " holds tensor " + printable(tensor.name) + ", which the index does not place there");
        ++indexed;
      }
      add_tensor(tensor, bytes.data() + tensor.offset, shown);
    }
    return indexed;
  }

  void add_tensor(const SafetensorsTensor& tensor, const std::uint8_t* data, const std::string& shown) {
    const auto name = map_hf_name(tensor.name);
    if (!name) {
      // Old checkpoints carry the RoPE frequencies, which follow from rope_theta.
      if (tensor.name.starts_with("model.layers.") && !tensor.name.ends_with("rotary_emb.inv_freq")) {
        reject("tensor " + printable(tensor.name) + " is not part of the architecture");
      }
      return;
    }
    // Some writers store the tied matrix twice.
    if (config_.tied_embeddings && name->gguf == "output.weight") return;
    if (!tensor.type) {
      throw Error(ErrorCode::kModelRejected,
                  shown + ": tensor " + printable(tensor.name) + " is " + tensor.dtype + "; supported are F32, F16 and BF16");
    }
    if (name->expert) {
      add_expert(*name, tensor, data);
      return;
    }
    TensorRef ref{name->gguf, *tensor.type, tensor.shape, data, tensor.bytes, {}};
    if (!name->fused_second.empty()) {
      add_fused(ref, name->fused_second);
      return;
    }
    add_unique(std::move(ref));
  }

  void add_unique(TensorRef ref) {
    if (!names_.insert(ref.name).second) reject("tensor " + ref.name + " appears twice");
    tensors_.push_back(std::move(ref));
  }

  // [experts, 2 * ffn, hidden], gate rows before up rows within each expert: two tensors whose experts are parts.
  void add_fused(const TensorRef& fused, const std::string& second_name) {
    if (fused.shape.size() != 3 || fused.shape[0] == 0 || fused.shape[1] % 2 != 0) {
      reject("tensor " + fused.name + " (gate_up_proj) has shape " + shape_text(fused.shape));
    }
    const std::size_t experts = fused.shape[0];
    const std::size_t half = fused.bytes / experts / 2;
    TensorRef gate{fused.name, fused.type, {experts, fused.shape[1] / 2, fused.shape[2]}, nullptr, fused.bytes / 2, {}};
    TensorRef up = gate;
    up.name = second_name;
    for (std::size_t e = 0; e < experts; ++e) {
      gate.parts.push_back(fused.data + 2 * e * half);
      up.parts.push_back(fused.data + (2 * e + 1) * half);
    }
    add_unique(std::move(gate));
    add_unique(std::move(up));
  }

  void add_expert(const HfName& name, const SafetensorsTensor& tensor, const std::uint8_t* data) {
    if (*name.expert >= config_.experts)
      reject("tensor " + printable(tensor.name) + ": the model has " + std::to_string(config_.experts) + " experts");
    if (tensor.shape.size() != 2) reject("tensor " + printable(tensor.name) + " has shape " + shape_text(tensor.shape));
    // Bounds what a header full of invented names can make us allocate.
    if (experts_.size() >= 3 * config_.layers && !experts_.contains(name.gguf))
      reject("tensor " + printable(tensor.name) + " is beyond the number of layers");
    TensorRef& joined = experts_[name.gguf];
    if (joined.parts.empty()) {
      joined = {name.gguf, *tensor.type, {config_.experts, tensor.shape[0], tensor.shape[1]}, nullptr, 0, {}};
      joined.parts.assign(config_.experts, nullptr);
    }
    if (joined.type != *tensor.type || joined.shape[1] != tensor.shape[0] || joined.shape[2] != tensor.shape[1]) {
      reject("tensor " + printable(tensor.name) + " differs in type or shape from the other experts");
    }
    if (joined.parts[*name.expert] != nullptr) reject("tensor " + printable(tensor.name) + " appears twice");
    joined.parts[*name.expert] = data;
    joined.bytes += tensor.bytes;
  }

  void join_experts() {
    for (auto& [name, tensor] : experts_) {
      for (std::size_t e = 0; e < tensor.parts.size(); ++e) {
        if (tensor.parts[e] == nullptr) reject("tensor " + name + ": expert " + std::to_string(e) + " is missing");
      }
      add_unique(std::move(tensor));
    }
    experts_.clear();
  }

  std::filesystem::path path_;
  std::string what_;
  ModelConfig config_;
  std::map<std::string, MappedFile> mappings_;  // by file name
  std::vector<TensorRef> tensors_;
  std::set<std::string> names_;
  std::map<std::string, TensorRef> experts_;  // while opening
};

}  // namespace

std::unique_ptr<ModelFile> open_hf_model(const std::filesystem::path& directory) { return std::make_unique<HfModel>(directory); }

}  // namespace gritstone
