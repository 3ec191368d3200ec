#include "apps/cli_session.h"

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdlib>

#include "apps/terminal.h"
#include "base/error.h"
#include "model/cuda_devices.h"

namespace gritstone {
namespace {

// Tokens of a step that fill a GPU; on a CPU a few hundred do.
constexpr std::size_t kCudaBatchTokens = 2048;

std::filesystem::path from_environment(const char* xdg, const char* below_home, const char* rest) {
  // The XDG specification says to ignore relative paths.
  if (const char* value = std::getenv(xdg); value != nullptr && value[0] == '/') return std::filesystem::path(value) / rest;
  if (const char* home = std::getenv("HOME"); home != nullptr && home[0] != '\0') return std::filesystem::path(home) / below_home / rest;
  return {};
}

}  // namespace

std::filesystem::path default_store_path() {
  const std::filesystem::path path = from_environment("XDG_DATA_HOME", ".local/share", "gritstone");
  if (path.empty()) throw Error(ErrorCode::kInvalidArgument, "no place for the store: use --store DIR, or set HOME");
  return path;
}

std::filesystem::path default_config_path() { return from_environment("XDG_CONFIG_HOME", ".config", "gritstone/config.toml"); }

void CliSession::add_options(CLI::App& command, unsigned uses) {
  const char* group = "Common options";
  if (uses & kModel)
    command.add_option("-m,--model", options.model, "GGUF file, or directory with config.json and safetensors")->group(group);
  if (uses & kThreads) command.add_option("-t,--threads", options.threads, "Threads; 0: all cores")->group(group)->capture_default_str();
  if ((uses & kEngine) == kEngine) {
    command.add_option("--device", options.device, "cpu, cuda or auto")
        ->group(group)
        ->check(CLI::IsMember({"cpu", "cuda", "auto"}))
        ->capture_default_str();
    command.add_option("--compute", options.compute, "fast (integer and bf16 kernels) or f32 (parity)")
        ->group(group)
        ->check(CLI::IsMember({"fast", "f32"}))
        ->capture_default_str();
    command.add_option("--kv-type", options.kv_type, "Type of the live KV cache: f32, bf16 or int8")
        ->group(group)
        ->check(CLI::IsMember({"f32", "bf16", "int8"}))
        ->capture_default_str();
    command.add_flag("--deterministic", options.deterministic, "CUDA: the same bits whatever else runs; slower (the CPU always is)")
        ->group(group);
    command.add_option("--simd", options.simd, "Forces the kernels: scalar, avx2 or avx512")->group(group);
  }
  if ((uses & kCollection) == kCollection) {
    command.add_option("-c,--collection", options.collection, "Collection")->group(group)->capture_default_str();
  }
  if ((uses & kEngine) == kEngine && (uses & kCollection) == kCollection) {
    const char* by_url = "Embedder by URL";
    command.add_option("--embedder-url", options.embedder.url, "OpenAI-compatible service that embeds [where the collection says]")
        ->group(by_url);
    command.add_option("--embedder-api-key-file", options.embedder.key_file, "Its key [$GRITSTONE_EMBEDDER_API_KEY]")->group(by_url);
  }
  if (uses & kStore) command.add_option("--store", options.store, "Directory of the store [~/.local/share/gritstone]")->group(group);
  command.add_flag("--json", options.json, "One JSON document on standard output")->group(group);
  command.add_flag("-q,--quiet", options.quiet, "Only results, warnings and errors")->group(group);
  command.add_flag("-v,--verbose", options.verbose, "More about what is done and how long it takes")->group(group);
  command.add_option("--config", options.config, "Config file [~/.config/gritstone/config.toml]")->group(group);
}

void CliSession::check_stop() const {
  if (stop_.stop_requested()) throw Error(ErrorCode::kCancelled, "interrupted");
}

const ModelFile& CliSession::model() {
  if (!model_) {
    if (options.model.empty()) {
      throw Error(ErrorCode::kInvalidArgument,
                  "no model named: use -m FILE, set GRITSTONE_MODEL, or put model = \"FILE\" into " + default_config_path().string());
    }
    model_ = ModelFile::open(options.model);
  }
  return *model_;
}

const Tokenizer& CliSession::tokenizer() {
  if (!tokenizer_) tokenizer_ = model().tokenizer();
  return *tokenizer_;
}

EngineOptions CliSession::engine_options() const {
  EngineOptions engine;
  engine.threads = options.threads;
  engine.compute = options.compute == "f32" ? ComputeMode::kF32 : ComputeMode::kFast;
  engine.kv_type = kv_type_from_name(options.kv_type).value_or(KvType::kBF16);
  engine.simd = options.simd;
  engine.deterministic = options.deterministic;
  // What CUDA cannot do (parity arithmetic, other live KV types, forced CPU kernels) is for the CPU, unless CUDA is asked for by name.
  const bool for_cuda = engine.compute == ComputeMode::kFast && engine.kv_type == KvType::kBF16 && engine.simd.empty();
  if (options.device == "cuda" || (options.device == "auto" && for_cuda && !cuda_devices().devices.empty())) {
    engine.device = Device::kCuda;
    engine.max_batch_tokens = kCudaBatchTokens;
  }
  return engine;
}

std::unique_ptr<DeviceSearch> CliSession::search_on_device(std::span<const float> rows, std::size_t dim) const {
  if (engine_options().device != Device::kCuda) throw Error(ErrorCode::kInvalidArgument, "the model is not on a GPU");
  return make_device_search(rows, dim);
}

std::unique_ptr<Engine> CliSession::create_engine(EngineOptions engine_options) {
  try {
    return Engine::create(model(), engine_options);
  } catch (const Error& error) {
    if (options.device != "auto" || engine_options.device != Device::kCuda) throw;
    note(std::string(error.what()) + "; using the CPU");
    engine_options.device = Device::kCpu;
    if (engine_options.max_batch_tokens == kCudaBatchTokens) engine_options.max_batch_tokens = EngineOptions{}.max_batch_tokens;
    return Engine::create(model(), engine_options);
  }
}

Engine& CliSession::engine() {
  if (!engine_) {
    const auto start = std::chrono::steady_clock::now();
    const ModelFile& file = model();
    tokenizer();  // a broken tokenizer is found before the weights are packed
    engine_ = create_engine(engine_options());
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    detail("Loaded " + file.path().string() + " in " + human_seconds(seconds) + ": " + engine_->numerics_id() + ", " +
           std::to_string(engine_->threads()) + " threads");
  }
  return *engine_;
}

ModelParts CliSession::model_parts() {
  ModelParts parts;
  parts.config = &model().config();
  parts.tokenizer = &tokenizer();
  parts.engine = [this]() -> Engine& { return engine(); };
  parts.hash = [this] { return model().hash(); };
  parts.placement = &placement_;
  parts.remote_embedder = remote_embedder();
  return parts;
}

ModelParts CliSession::optional_model_parts() {
  if (has_model()) return model_parts();
  ModelParts parts;
  parts.placement = &placement_;
  parts.remote_embedder = remote_embedder();
  return parts;
}

std::function<std::unique_ptr<Embedder>(const RemoteEmbedding&, std::size_t, const std::stop_token&)> CliSession::remote_embedder() const {
  if (!network.embedder) return {};
  return [open = network.embedder, access = options.embedder](const RemoteEmbedding& remote, std::size_t dim, const std::stop_token& stop) {
    return open(remote, dim, access, stop);
  };
}

std::filesystem::path CliSession::store_path() const {
  return options.store.empty() ? default_store_path() : std::filesystem::path(options.store);
}

Store& CliSession::store(Store::Mode mode) {
  if (!store_) store_ = Store::open(store_path(), mode);
  return *store_;
}

void CliSession::note(std::string_view text) const {
  if (options.quiet) return;
  if (progress_) progress_->clear();
  print_err(std::string(text) + "\n");
}

void CliSession::detail(std::string_view text) const {
  if (options.verbose) note(text);
}

void CliSession::warn(std::string_view text) const {
  if (progress_) progress_->clear();
  print_err("gritstone: warning: " + std::string(text) + "\n");
}

Progress& CliSession::progress() {
  if (!progress_) progress_ = std::make_unique<Progress>(stderr_is_terminal() && !options.quiet);
  return *progress_;
}

}  // namespace gritstone
