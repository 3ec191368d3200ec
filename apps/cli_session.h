// What every command shares: the common options, and the model, engine and store they name, opened when first asked for.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>

#include "apps/network.h"
#include "apps/progress.h"
#include "index/store.h"
#include "model/engine.h"
#include "model/model_file.h"
#include "model/tokenizer.h"
#include "pipelines/model_parts.h"

namespace CLI {
class App;
}

namespace gritstone {

struct CommonOptions {
  std::string model;
  std::string collection = "default";
  std::string store;  // empty: default_store_path()
  std::size_t threads = 0;
  std::string device = "auto";
  bool deterministic = false;
  EmbedderAccess embedder;  // by URL
  std::string compute = "fast";
  std::string kv_type = "bf16";
  std::string simd;
  std::string config;
  bool json = false;
  bool quiet = false;
  bool verbose = false;
};

// Used from the main thread. Members that open something throw what that throws.
class CliSession {
 public:
  explicit CliSession(std::stop_token stop) : stop_(std::move(stop)) {}

  CommonOptions options;
  Network network;  // set by main() where the build has an HTTP client

  // Which of the common options a command understands; --json, -q, -v and --config always.
  enum Uses : unsigned { kNothing = 0, kModel = 1, kThreads = 16, kEngine = 2 | kThreads | kModel, kStore = 4, kCollection = 8 | kStore };
  void add_options(CLI::App& command, unsigned uses);

  const std::stop_token& stop() const noexcept { return stop_; }
  // Throws Error(kCancelled) once Ctrl-C was pressed.
  void check_stop() const;

  const ModelFile& model();
  const Tokenizer& tokenizer();
  Engine& engine();
  // For pipelines: the weights are loaded, and the file hashed, only when they are asked for. Valid as long as the session.
  ModelParts model_parts();
  // As model_parts(), but without a model where none is named: for what collections that are embedded by URL do without.
  ModelParts optional_model_parts();
  // How collections embedded by URL are reached; empty without HTTP client.
  std::function<std::unique_ptr<Embedder>(const RemoteEmbedding&, std::size_t, const std::stop_token&)> remote_embedder() const;
  // Engine options as the common options say. `auto` is CUDA where a device is there and can do what the other options ask for.
  EngineOptions engine_options() const;
  // Where `auto` chose CUDA and the model does not fit there (or the device fails), the CPU takes its place and a note says so.
  std::unique_ptr<Engine> create_engine(EngineOptions engine_options);
  std::filesystem::path store_path() const;
  Store& store(Store::Mode mode);
  // Large collections are searched on the GPU where the common options put the model there. May be used from any thread.
  VectorPlacement& placement() noexcept { return placement_; }
  bool has_model() const noexcept { return !options.model.empty(); }

  // Lines for people, on standard error: notes unless --quiet, details with --verbose, warnings always.
  void note(std::string_view text) const;
  void detail(std::string_view text) const;
  void warn(std::string_view text) const;
  // Created when first used, so that --quiet is known.
  Progress& progress();

 private:
  std::unique_ptr<DeviceSearch> search_on_device(std::span<const float> rows, std::size_t dim) const;

  std::stop_token stop_;
  std::unique_ptr<ModelFile> model_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Progress> progress_;
  VectorPlacement placement_{[this](std::span<const float> rows, std::size_t dim) { return search_on_device(rows, dim); }};
};

// $XDG_DATA_HOME/gritstone, else ~/.local/share/gritstone. Throws Error(kInvalidArgument) if neither variable is set.
std::filesystem::path default_store_path();
// $XDG_CONFIG_HOME/gritstone/config.toml, else ~/.config/gritstone/config.toml; empty if neither variable is set.
std::filesystem::path default_config_path();

}  // namespace gritstone
