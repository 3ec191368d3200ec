#include "model/files/gguf_model.h"

#include <algorithm>

#include "base/error.h"
#include "base/mapped_file.h"
#include "model/files/gguf_config.h"
#include "model/files/gguf_reader.h"
#include "model/files/hash_cache.h"
#include "model/files/tensor_table.h"
#include "model/tokenizer/make_tokenizer.h"

namespace gritstone {
namespace {

class GgufModel final : public ModelFile {
 public:
  explicit GgufModel(const std::filesystem::path& path)
      : path_(path), mapping_(path), file_(mapping_.bytes(), path.string()), config_(gguf_config(file_, path.string())) {
    if (config_.name.empty()) config_.name = path.stem().string();
    tensors_ = gguf_tensors(file_);
    check_tensors(config_, tensors_, path.string());
  }

  const std::filesystem::path& path() const noexcept override { return path_; }
  const ModelConfig& config() const noexcept override { return config_; }
  const std::vector<TensorRef>& tensors() const noexcept override { return tensors_; }
  std::uint64_t bytes() const noexcept override { return mapping_.size(); }
  std::unique_ptr<Tokenizer> tokenizer() const override { return make_tokenizer(gguf_vocab(file_, path_.string())); }
  std::string hash() const override { return remembered_sha256(path_); }
  void release(const TensorRef& tensor) const noexcept override {
    if (tensor.data != nullptr) mapping_.release(static_cast<std::size_t>(tensor.data - mapping_.bytes().data()), tensor.bytes);
  }

 private:
  std::filesystem::path path_;
  MappedFile mapping_;
  GgufFile file_;
  ModelConfig config_;
  std::vector<TensorRef> tensors_;
};

}  // namespace

std::vector<TensorRef> gguf_tensors(const GgufFile& file) {
  std::vector<TensorRef> tensors;
  for (const GgufTensor& tensor : file.tensors()) {
    TensorRef ref;
    ref.name = tensor.name;
    ref.type = tensor.type;
    ref.shape.assign(tensor.dims.rbegin(), tensor.dims.rend());  // GGUF counts from the fastest dimension
    ref.data = file.bytes().data() + tensor.offset;
    ref.bytes = tensor.bytes;
    tensors.push_back(std::move(ref));
  }
  return tensors;
}

std::unique_ptr<ModelFile> open_gguf_model(const std::filesystem::path& path) { return std::make_unique<GgufModel>(path); }

}  // namespace gritstone
