// gritstone serve: the local service over HTTP.
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>

#include "apps/commands.h"
#include "apps/reuse_options.h"
#include "apps/server/access_log.h"
#include "apps/server/routes.h"
#include "apps/server/security.h"
#include "apps/server/server.h"
#include "apps/server/server_context.h"
#include "apps/terminal.h"
#include "base/error.h"

namespace gritstone {
namespace {

// KV slots beside those of the requests' contexts: for indexing in the background.
constexpr std::size_t kBulkKvSlots = 8192;

struct Options {
  ServerOptions server;
  std::string api_key_file;
  double queue_wait = 30;
  double deadline = 300;
  double drain = 30;
  std::size_t kv_slots = 0;
  // Requests do not interrupt each other's steps: smaller steps answer short ones sooner while long ones are read.
  std::size_t batch_tokens = 256;
  std::size_t bulk_tokens = 64;
  ReuseFlags reuse;
  bool log_json = false;
};

std::chrono::milliseconds milliseconds(double seconds) { return std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000)); }

std::vector<std::string> api_keys(const Options& options) {
  std::vector<std::string> keys;
  if (!options.api_key_file.empty()) keys = read_api_keys(options.api_key_file);
  if (const char* key = std::getenv("GRITSTONE_API_KEY"); key != nullptr && *key != '\0')
    keys.push_back(check_api_key(key, "GRITSTONE_API_KEY"));
  return keys;
}

std::string model_name(const std::string& path) {
  std::filesystem::path name(path);
  if (!name.has_filename()) name = name.parent_path();
  return name.extension() == ".gguf" ? name.stem().string() : name.filename().string();
}

Store::Mode store_mode(const std::filesystem::path& store) {
  const std::filesystem::path database = store / "gritstone.db";
  return std::filesystem::exists(database) && ::access(database.c_str(), W_OK) != 0 ? Store::Mode::kRead : Store::Mode::kReadWrite;
}

// Each client holds a descriptor, and so do the store's readers.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

// Loads the model on a thread of its own, so that /health can say meanwhile that it is loading.
class Loader {
 public:
  Loader(CliSession& session, const Options& options, ServerContext& context, AccessLog& log)
      : session_(session), options_(options), context_(context), log_(log), stopping_(session.stop(), [this] { changed_.notify_all(); }) {
    thread_ = std::thread([this] { load(); });
  }
  ~Loader() {
    if (thread_.joinable()) thread_.join();
  }

  // Until a stop is asked for; rethrows what loading threw.
  void wait_for_stop() {
    std::unique_lock lock(mutex_);
    // The stop callback cannot take the mutex without risking a deadlock, so a lost notification is made up for by looking again.
    while (!session_.stop().stop_requested() && !error_) changed_.wait_for(lock, std::chrono::milliseconds(200));
    if (error_) std::rethrow_exception(error_);
  }
  bool finished() {
    const std::lock_guard lock(mutex_);
    return finished_;
  }

 private:
  void load() {
    std::exception_ptr error;
    try {
      const auto start = std::chrono::steady_clock::now();
      EngineOptions engine_options = session_.engine_options();
      const ModelFile& file = session_.model();
      ModelParts parts;
      parts.config = &file.config();
      parts.tokenizer = &session_.tokenizer();
      const std::size_t contexts = options_.server.limits.slots * file.config().context;
      engine_options.kv_slots = options_.kv_slots > 0 ? options_.kv_slots : contexts + kBulkKvSlots;
      engine_options.max_batch_tokens = options_.batch_tokens;
      engine_options.max_bulk_tokens = options_.bulk_tokens;
      engine_ = session_.create_engine(engine_options);
      parts.engine = [this]() -> Engine& { return *engine_; };
      // The first time this reads the whole file; every later call remembers it.
      const std::string hash = file.hash();
      parts.hash = [hash] { return hash; };
      parts.placement = &session_.placement();
      parts.remote_embedder = session_.remote_embedder();
      context_.set_model(parts, model_name(session_.options.model), measurements_file(parts, "start"));
      const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      log_.event("info", "Ready: " + context_.model_id() + " loaded in " + human_seconds(seconds) + ", " + engine_->numerics_id() + ", " +
                             std::to_string(engine_->threads()) + " threads");
    } catch (...) {
      error = std::current_exception();
      context_.set_failed();
    }
    const std::lock_guard lock(mutex_);
    finished_ = true;
    error_ = error;
    changed_.notify_all();
  }

  CliSession& session_;
  const Options& options_;
  ServerContext& context_;
  AccessLog& log_;
  std::unique_ptr<Engine> engine_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool finished_ = false;
  std::exception_ptr error_;
  std::stop_callback<std::function<void()>> stopping_;
  std::thread thread_;
};

ServerOptions server_options(CliSession& session, const Options& options) {
  ServerOptions server = options.server;
  server.api_keys = api_keys(options);
  server.limits.queue_wait = milliseconds(options.queue_wait);
  server.limits.deadline = milliseconds(options.deadline);
  server.limits.drain = milliseconds(options.drain);
  server.reuse = options.reuse.policy;
  server.span_type = options.reuse.span_type;
  server.cache_ram_bytes = options.reuse.ram_mb << 20;
  server.cache_disk_bytes = options.reuse.disk_mb << 20;
  if (server.model_alias.empty()) server.model_alias = model_name(session.options.model);
  require_key_beyond_loopback(server);
  return server;
}

int run(CliSession& session, const Options& options) {
  ::umask(077);
  if (!session.has_model()) session.model();  // says how to name one
  const ServerOptions server_settings = server_options(session, options);
  if (!std::filesystem::exists(session.options.model)) {
    throw Error(ErrorCode::kNotFound, session.options.model + " does not exist");
  }
  raise_descriptor_limit();
  const Store::Mode mode = store_mode(session.store_path());
  Store& store = session.store(mode);
  if (mode == Store::Mode::kRead) session.warn("the store is read-only: nothing can be uploaded, computed states are kept in memory only");

  const AccessLog::Format format = options.log_json        ? AccessLog::Format::kJson
                                   : session.options.quiet ? AccessLog::Format::kNone
                                                           : AccessLog::Format::kText;
  AccessLog log(format, [](std::string_view line) { print_err(line); });
  ServerContext context(server_settings, store, mode);
  std::unique_ptr<Loader> loader;  // holds the engine: outlives router and server
  Router router;
  add_all_routes(router, context);
  Server server(context, router, log);
  server.start();
  std::string urls;
  for (const std::string& url : server.urls()) urls += (urls.empty() ? "" : ", ") + url;
  log.event("info", "Listening on " + urls + "; loading the model");
  loader = std::make_unique<Loader>(session, options, context, log);
  loader->wait_for_stop();
  log.event("info", "Stopping: finishing what was accepted");
  const bool finished = server.stop();
  if (!finished) log.event("warning", "some requests were cut off at the drain limit");
  log.event("info", "Stopped");
  // Loading cannot be interrupted, and has changed nothing that would have to be put in order.
  if (!loader->finished()) std::_Exit(0);
  return 0;
}

void add_limits(CLI::App& command, Options& options) {
  const char* group = "Limits";
  ServerLimits& limits = options.server.limits;
  command.add_option("--slots", limits.slots, "Requests that use the model at a time")
      ->group(group)
      ->capture_default_str()
      ->check(CLI::Range(1, 256));
  command.add_option("--queue", limits.queue, "Requests that may wait; more get 429")
      ->group(group)
      ->capture_default_str()
      ->check(CLI::Range(0, 100000));
  command.add_option("--queue-wait", options.queue_wait, "Longest wait, seconds")
      ->group(group)
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  command.add_option("--deadline", options.deadline, "Longest a request may take, seconds")
      ->group(group)
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  command.add_option("--max-tokens", limits.max_tokens, "Most tokens a request may ask for")
      ->group(group)
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  command.add_option("--connections", limits.connections, "Clients at a time")
      ->group(group)
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  command.add_option("--per-address", limits.connections_per_address, "Clients of one address, this machine's excepted")
      ->group(group)
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  command.add_option("--drain", options.drain, "On SIGTERM, seconds for what was accepted")
      ->group(group)
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  command.add_option("--kv-slots", options.kv_slots, "Tokens whose states fit into memory; 0: slots times the context, and 8192")
      ->group(group)
      ->capture_default_str();
  command
      .add_option("--batch-tokens", options.batch_tokens,
                  "Tokens a step of the engine computes; fewer: short requests answer sooner beside long ones")
      ->group(group)
      ->capture_default_str()
      ->check(CLI::Range(16, 8192));
  command
      .add_option("--bulk-tokens", options.bulk_tokens,
                  "Of these, tokens of indexing and large embedding requests; a quarter beside questions")
      ->group(group)
      ->capture_default_str()
      ->check(CLI::Range(4, 8192));
}

}  // namespace

void add_serve_command(CLI::App& app, CliSession& session, CommandTable& table) {
  CLI::App* command = app.add_subcommand("serve", "Answers over HTTP: OpenAI's API, answers with sources, a web page");
  auto options = std::make_shared<Options>();
  command->add_option("--host", options->server.host, "Address to listen on; beyond this machine only with a key")->capture_default_str();
  command->add_option("--port", options->server.port, "0: any free one")->capture_default_str();
  command->add_option("--alias", options->server.model_alias, "Id of the model in the API [the file's name]");
  const char* security = "Security";
  command->add_option("--api-key-file", options->api_key_file, "File with one key a line; GRITSTONE_API_KEY adds one")->group(security);
  command->add_option("--allow-host", options->server.allow_hosts, "Another name this server is reached by (may be repeated)")
      ->take_all()
      ->group(security);
  command->add_option("--allow-origin", options->server.allow_origins, "Site whose pages may call, https://... (may be repeated)")
      ->take_all()
      ->group(security);
  command->add_option("--tls-cert", options->server.tls_certificate, "PEM file with the certificate chain")->group(security);
  command->add_option("--tls-key", options->server.tls_key, "PEM file with its key")->group(security);
  add_limits(*command, *options);
  add_reuse_flags(*command, options->reuse);
  command->add_flag("--log-json", options->log_json, "One JSON object a line instead of text");
  session.add_options(*command, CliSession::kEngine | CliSession::kStore);
  command->footer(
      "Examples:\n"
      "  gritstone serve -m model.gguf\n"
      "  curl http://localhost:8080/v1/answer -H 'Content-Type: application/json' \\\n"
      "       -d '{\"collection\":\"notes\",\"question\":\"When does the ferry leave?\"}'\n"
      "  GRITSTONE_API_KEY=... gritstone serve -m model.gguf --host 0.0.0.0 --tls-cert cert.pem --tls-key key.pem");
  table.add(command, [&session, options] { return run(session, *options); });
}

}  // namespace gritstone
