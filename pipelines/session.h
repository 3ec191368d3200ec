// What one command has open: model file, tokenizer, engine and store, each opened when first asked for and closed with the session.
#pragma once

#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "generator/prompt_format.h"
#include "index/store.h"
#include "model/engine.h"
#include "model/model_file.h"
#include "pipelines/embedder_setup.h"
#include "pipelines/model_parts.h"
#include "retriever/grit_embedder.h"

namespace gritstone {

struct SessionOptions {
  std::filesystem::path model;  // empty: no model
  std::filesystem::path store;  // empty: no store
  EngineOptions engine;
};

// Thread-safe. Accessors throw Error: kInvalidArgument if the session has no model or no store, and what opening them throws.
class Session {
 public:
  explicit Session(SessionOptions options);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  bool has_model() const noexcept { return !options_.model.empty(); }
  const SessionOptions& options() const noexcept { return options_; }

  const ModelFile& model_file();
  const Tokenizer& tokenizer();
  Engine& engine();
  const PromptFormat& prompt_format();
  ModelParts model_parts();

  // The mode counts at the first call; a store opened for reading is opened again if writing is asked for later (then nobody may still use
  // the first one).
  Store& store(Store::Mode mode = Store::Mode::kRead);

  // The embedder of a collection: absent if the collection has no vectors' description yet. Throws Error(kInvalidArgument) if this model or
  // the overrides differ from what made its vectors.
  std::unique_ptr<GritEmbedder> collection_embedder(const CollectionInfo& collection, const EmbedOverrides& overrides = {});

 private:
  SessionOptions options_;
  std::recursive_mutex mutex_;
  std::unique_ptr<ModelFile> model_file_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<PromptFormat> prompt_format_;
  std::optional<Store::Mode> store_mode_;
  std::unique_ptr<Store> store_;
};

}  // namespace gritstone
