#include "apps/server/server_context.h"

#include <chrono>

#include "apps/server/api_error.h"
#include "pipelines/embedder_setup.h"

namespace gritstone {

ServerContext::ServerContext(ServerOptions options, Store& store, Store::Mode mode)
    : options_(std::move(options)),
      store_(store),
      mode_(mode),
      spans_(store, SpanCacheOptions{options_.cache_ram_bytes, mode == Store::Mode::kReadWrite ? options_.cache_disk_bytes : 0, {}, true}),
      started_unix_(std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count()) {}

void ServerContext::set_model(const ModelParts& parts, const std::string& name, const std::filesystem::path& start_file) {
  auto costs = std::make_unique<StartCosts>(start_file);
  if (!costs->measured()) {
    costs->measure(parts.engine());
    costs->save();
  }
  std::vector<std::function<void()>> hooks;
  {
    const std::lock_guard lock(mutex_);
    parts_ = parts;
    start_costs_ = std::move(costs);
    model_name_ = name;
    State loading = State::kLoading;
    state_.compare_exchange_strong(loading, State::kReady);
    hooks.swap(ready_hooks_);
  }
  if (state_ != State::kReady) return;
  for (const auto& hook : hooks) hook();
}

void ServerContext::set_failed() {
  State loading = State::kLoading;
  state_.compare_exchange_strong(loading, State::kFailed);
}

const ModelParts& ServerContext::model() const {
  switch (state_.load()) {
    case State::kLoading:
      throw ApiError::unavailable("Loading model", 2);
    case State::kFailed:
      throw ApiError::unavailable("the model could not be loaded", 60);
    case State::kReady:
    case State::kStopping:
      break;
  }
  const std::lock_guard lock(mutex_);
  // Stopping before the model was there.
  if (parts_.config == nullptr) throw ApiError::unavailable("the server is stopping", 5);
  return parts_;
}

std::string ServerContext::model_id() const {
  if (!options_.model_alias.empty()) return options_.model_alias;
  const std::lock_guard lock(mutex_);
  return model_name_;
}

OpenCollection ServerContext::open_collection(const std::string& name, const std::string& param) {
  const ModelParts& parts = model();
  if (!is_valid_collection_name(name)) throw ApiError::not_found("there is no such collection", param, "collection_not_found");
  OpenCollection open;
  try {
    open.snapshot = store_.snapshot(name);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kNotFound) throw;
    throw ApiError::not_found("there is no collection " + name, param, "collection_not_found");
  }
  const CollectionInfo& info = open.info();
  const std::lock_guard lock(mutex_);
  CachedEmbedder& cached = embedders_[info.id];
  // Statistics are frozen into the manifest with the first vectors, and re-embedding replaces it.
  if (cached.manifest != info.manifest) {
    cached.embedder = open_collection_embedder(parts, info);
    cached.manifest = info.manifest;
  }
  open.embedder = cached.embedder;
  return open;
}

void ServerContext::when_ready(std::function<void()> hook) {
  {
    const std::lock_guard lock(mutex_);
    if (state_ != State::kReady) {
      ready_hooks_.push_back(std::move(hook));
      return;
    }
  }
  hook();
}

void ServerContext::when_stopping(std::function<void()> hook) {
  const std::lock_guard lock(mutex_);
  stopping_hooks_.push_back(std::move(hook));
}

void ServerContext::begin_stopping() {
  std::vector<std::function<void()>> hooks;
  {
    const std::lock_guard lock(mutex_);
    state_ = State::kStopping;
    hooks.swap(stopping_hooks_);
  }
  for (const auto& hook : hooks) hook();
}

}  // namespace gritstone
