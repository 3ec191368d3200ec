// What handlers share: the store, the model once it is loaded, embedders, the span cache, metrics.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "apps/server/metrics.h"
#include "apps/server/server_options.h"
#include "index/span_cache.h"
#include "index/store.h"
#include "pipelines/model_parts.h"
#include "pipelines/start_costs.h"
#include "retriever/embedder.h"

namespace gritstone {

// One committed generation of a collection, with the embedder that made its vectors. Keep it for one request.
struct OpenCollection {
  std::shared_ptr<const Snapshot> snapshot;
  std::shared_ptr<const Embedder> embedder;  // null: the collection has no vectors, search by words

  const CollectionInfo& info() const noexcept { return snapshot->info(); }
};

// Thread-safe. Outlives every handler; borrows the store, which outlives it.
class ServerContext {
 public:
  // mode: what the store was opened in; in kRead nothing can be indexed, and no spans are kept on disk.
  ServerContext(ServerOptions options, Store& store, Store::Mode mode);

  const ServerOptions& options() const noexcept { return options_; }
  Store& store() const noexcept { return store_; }
  bool writable() const noexcept { return mode_ == Store::Mode::kReadWrite; }
  SpanCache& spans() noexcept { return spans_; }
  Metrics& metrics() noexcept { return metrics_; }

  // Called once by whoever loads the model, from any thread; the parts outlive the context. Runs the hooks of when_ready().
  // name: id of the model where the options give no alias.
  // start_file: as StartCosts; what is not known from there is measured first, once.
  void set_model(const ModelParts& parts, const std::string& name, const std::filesystem::path& start_file = {});
  // The model could not be loaded.
  void set_failed();
  enum class State { kLoading, kReady, kFailed, kStopping };
  State state() const noexcept { return state_; }
  // Throws ApiError (503) until the model is loaded.
  const ModelParts& model() const;
  // How long first tokens take here. REQUIRES: model() was there.
  StartCosts& start_costs() noexcept { return *start_costs_; }
  // Id of the model in /v1/models; known from the start.
  std::string model_id() const;
  std::int64_t started_unix() const noexcept { return started_unix_; }

  // The newest committed generation: what another process indexed shows at once. Throws ApiError: 404 (param `param`) for an unknown name,
  // 503 while loading; Error(kInvalidArgument) if another model made the vectors.
  OpenCollection open_collection(const std::string& name, const std::string& param = "collection");

  // Hooks for parts with threads of their own (background indexing). when_ready: the model is there (at once if it already is);
  // when_stopping: no more requests are accepted, those accepted are being finished; must return quickly.
  void when_ready(std::function<void()> hook);
  void when_stopping(std::function<void()> hook);
  void begin_stopping();

 private:
  const ServerOptions options_;
  Store& store_;
  const Store::Mode mode_;
  SpanCache spans_;
  Metrics metrics_;
  std::int64_t started_unix_;
  std::atomic<State> state_{State::kLoading};

  mutable std::mutex mutex_;
  // Written once, before state_ becomes kReady.
  std::unique_ptr<StartCosts> start_costs_;
  ModelParts parts_;
  std::string model_name_;
  std::vector<std::function<void()>> ready_hooks_;
  std::vector<std::function<void()>> stopping_hooks_;
  struct CachedEmbedder {
    std::string manifest;
    std::shared_ptr<const Embedder> embedder;
  };
  std::map<std::int64_t, CachedEmbedder> embedders_;  // by collection id
};

}  // namespace gritstone
