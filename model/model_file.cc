#include "model/model_file.h"

#include "base/error.h"
#include "model/files/gguf_model.h"
#include "model/files/hf_model.h"

namespace gritstone {

std::unique_ptr<ModelFile> ModelFile::open(const std::filesystem::path& path) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) throw Error(ErrorCode::kNotFound, "no model at " + path.string());
  if (std::filesystem::is_directory(status)) return open_hf_model(path);
  if (!std::filesystem::is_regular_file(status)) throw Error(ErrorCode::kModelRejected, path.string() + ": neither a file nor a directory");
  if (path.extension() == ".safetensors" || path.extension() == ".json") {
    throw Error(ErrorCode::kModelRejected, path.string() + ": name the directory that holds config.json and the safetensors files");
  }
  return open_gguf_model(path);
}

const TensorRef* ModelFile::find(const std::string& gguf_name) const noexcept {
  for (const TensorRef& tensor : tensors()) {
    if (tensor.name == gguf_name) return &tensor;
  }
  return nullptr;
}

}  // namespace gritstone
