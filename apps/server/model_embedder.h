// The embedder of the model itself, for requests that name no collection.
#pragma once

#include <memory>
#include <mutex>

#include "pipelines/model_parts.h"
#include "retriever/grit_embedder.h"

namespace gritstone {

// Thread-safe. Without a collection's statistics, so its vectors are comparable with each other only. Texts may be as long as the model's
// context allows.
class ModelEmbedder {
 public:
  std::shared_ptr<const GritEmbedder> get(const ModelParts& parts);

 private:
  std::mutex mutex_;
  std::shared_ptr<const GritEmbedder> embedder_;
};

}  // namespace gritstone
