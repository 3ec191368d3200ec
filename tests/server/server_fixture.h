// A real server on a random loopback port, over a store with a few documents and a model that is scripted or tiny.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "apps/server/access_log.h"
#include "apps/server/routes.h"
#include "apps/server/server.h"
#include "apps/server/server_context.h"
#include "tests/model/tiny_model.h"
#include "tests/pipelines/fixtures.h"
#include "tests/server/http_client.h"

namespace gritstone {

// True as soon as `condition` holds; false after a time that no working server takes.
inline bool eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 2000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return condition();
}

// With the scripted engine: what the model "says" is set by the test, and every step can be made to take time.
class ServerTest : public ::testing::Test {
 protected:
  ServerTest() {
    options.port = 0;
    options.host = "127.0.0.1";
    files.write("octopus.md", "# Octopus\n\nAn octopus has three hearts. Two pump blood through the gills.\n");
    files.write("tea.txt", "Green tea is not oxidised. Black tea is.\n");
    files.index();
    files.engine.set_script("An octopus has three hearts [1].");
  }
  ~ServerTest() override { stop(); }

  // parts: the fixture's scripted model, unless a test brings another. load: false leaves the server in its loading state.
  void start(const ModelParts* parts = nullptr, bool load = true) {
    log = std::make_unique<AccessLog>(AccessLog::Format::kJson, [this](std::string_view line) {
      const std::lock_guard lock(log_mutex);
      log_lines.emplace_back(line);
    });
    if (options.model_alias.empty()) options.model_alias = "tiny";
    context = std::make_unique<ServerContext>(options, *files.store, Store::Mode::kReadWrite);
    router = std::make_unique<Router>();
    add_all_routes(*router, *context);
    if (extra_routes) extra_routes(*router);
    server = std::make_unique<Server>(*context, *router, *log);
    server->start();
    if (load) context->set_model(parts != nullptr ? *parts : files.parts, "tiny");
  }
  // Whether everything was finished.
  bool stop() {
    if (!server) return true;
    const bool finished = server->stop();
    server.reset();
    router.reset();
    context.reset();
    return finished;
  }

  HttpResponse request(std::string_view method, std::string_view path, std::string_view body = {}, std::string_view headers = {}) const {
    HttpClient client(server->port());
    return client.request(method, path, body, headers);
  }
  HttpResponse post(std::string_view path, std::string_view body) const { return request("POST", path, body); }

  // Nothing is left of any request: what every test of disconnects and overload ends with.
  bool idle() const {
    return eventually([&] {
      const Metrics& m = context->metrics();
      return m.requests_running == 0 && m.slots_busy == 0 && m.queue_length == 0;
    });
  }
  std::string log_text() {
    const std::lock_guard lock(log_mutex);
    std::string text;
    for (const std::string& line : log_lines) text += line;
    return text;
  }

  PipelineFixture files;
  ServerOptions options;
  std::function<void(Router&)> extra_routes;
  std::mutex log_mutex;
  std::vector<std::string> log_lines;
  std::unique_ptr<AccessLog> log;
  std::unique_ptr<ServerContext> context;
  std::unique_ptr<Router> router;
  std::unique_ptr<Server> server;
};

// With a tiny mixture-of-experts model on the real engine: real batching, real cancellation, random words.
class TinyServerTest : public ServerTest {
 protected:
  static ModelConfig config() {
    ModelConfig c = tiny_config();
    c.vocab = ByteTokenizer::kVocab;
    c.context = 2048;
    c.chat_template = "<|im_start|>";
    return c;
  }
  TinyServerTest() {
    parts.config = &model.config();
    parts.tokenizer = &tokenizer;
    parts.engine = [this]() -> Engine& { return *engine; };
    parts.hash = [] { return std::string("hash-1"); };
  }
  ~TinyServerTest() override { stop(); }

  ByteTokenizer tokenizer;
  TinyModel model{config(), DType::kQ8_0};
  std::unique_ptr<Engine> engine = Engine::create(model, [] {
    EngineOptions o;
    o.kv_slots = 16384;
    o.threads = 2;
    return o;
  }());
  ModelParts parts;
};

}  // namespace gritstone
