#include "pipelines/session.h"

#include "base/error.h"

namespace gritstone {

Session::Session(SessionOptions options) : options_(std::move(options)) {}
Session::~Session() = default;

const ModelFile& Session::model_file() {
  const std::lock_guard lock(mutex_);
  if (!has_model()) throw Error(ErrorCode::kInvalidArgument, "no model given: use -m FILE or GRITSTONE_MODEL");
  if (!model_file_) model_file_ = ModelFile::open(options_.model);
  return *model_file_;
}

const Tokenizer& Session::tokenizer() {
  const std::lock_guard lock(mutex_);
  if (!tokenizer_) tokenizer_ = model_file().tokenizer();
  return *tokenizer_;
}

Engine& Session::engine() {
  const std::lock_guard lock(mutex_);
  if (!engine_) engine_ = Engine::create(model_file(), options_.engine);
  return *engine_;
}

const PromptFormat& Session::prompt_format() {
  const std::lock_guard lock(mutex_);
  if (!prompt_format_) {
    prompt_format_ = std::make_unique<PromptFormat>(tokenizer(), choose_prompt_style(model_file().config(), tokenizer()));
  }
  return *prompt_format_;
}

ModelParts Session::model_parts() {
  ModelParts parts;
  parts.config = &model_file().config();
  parts.tokenizer = &tokenizer();
  parts.engine = [this]() -> Engine& { return engine(); };
  parts.hash = [this] { return model_file().hash(); };
  return parts;
}

Store& Session::store(Store::Mode mode) {
  const std::lock_guard lock(mutex_);
  if (options_.store.empty()) throw Error(ErrorCode::kInvalidArgument, "no store given: use --store DIR or GRITSTONE_STORE");
  if (!store_ || (mode == Store::Mode::kReadWrite && store_mode_ == Store::Mode::kRead)) {
    store_.reset();
    store_ = Store::open(options_.store, mode);
    store_mode_ = mode;
  }
  return *store_;
}

std::unique_ptr<GritEmbedder> Session::collection_embedder(const CollectionInfo& collection, const EmbedOverrides& overrides) {
  if (!has_model()) return nullptr;
  return open_collection_embedder(model_parts(), collection, overrides);
}

}  // namespace gritstone
