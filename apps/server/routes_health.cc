// GET /health, /ready, /metrics: for load balancers and monitoring.
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>

#include "apps/json_output.h"
#include "apps/server/api_error.h"
#include "apps/server/routes.h"

namespace gritstone {
namespace {

using State = ServerContext::State;

void health(ServerContext& context, ReplyWriter& reply) {
  const State state = context.state();
  if (state == State::kReady || state == State::kStopping) {
    reply.json(R"({"status":"ok"})");
    return;
  }
  // The shape that llama-server made known: clients wait for 200 and show the message meanwhile.
  const char* message = state == State::kLoading ? "Loading model" : "The model could not be loaded";
  JsonOutput json;
  json.begin_object().begin_object("error").field("code", 503).field("message", message).field("type", "unavailable_error");
  json.key("param").null().end_object().end_object();
  reply.set_header("Retry-After", "2");
  reply.json(503, json.text());
}

void ready(ServerContext& context, ReplyWriter& reply) {
  if (context.state() == State::kStopping) throw ApiError::unavailable("the server is stopping", 5);
  context.model();
  reply.json(R"({"status":"ready"})");
}

// Resident bytes of this process; 0 if they cannot be read.
std::uint64_t resident_bytes() {
  std::ifstream in("/proc/self/statm");
  std::uint64_t total = 0, resident = 0;
  in >> total >> resident;
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

// User and system time of all threads.
double cpu_seconds() {
  rusage used{};
  if (::getrusage(RUSAGE_SELF, &used) != 0) return 0;
  const auto seconds = [](const timeval& t) { return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec); };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

void metric(std::string& out, const char* type, const std::string& name, const char* help, std::uint64_t value) {
  const std::string base = name.substr(0, name.find('{'));
  if (*help != '\0') out += "# HELP " + base + " " + help + "\n# TYPE " + base + " " + type + "\n";
  out += name + " " + std::to_string(value) + "\n";
}

void metrics(ServerContext& context, ReplyWriter& reply) {
  const SpanCacheStats cache = context.spans().stats();
  std::string extra;
  metric(extra, "counter", "gritstone_cache_hits_total{tier=\"ram\"}", "Spans found in the cache", cache.ram_hits);
  metric(extra, "counter", "gritstone_cache_hits_total{tier=\"disk\"}", "", cache.disk_hits);
  metric(extra, "counter", "gritstone_cache_misses_total", "Spans that had to be computed", cache.misses);
  metric(extra, "gauge", "gritstone_cache_ram_bytes", "Of spans in memory", cache.ram_bytes);
  metric(extra, "gauge", "gritstone_cache_ram_spans", "Spans in memory", cache.ram_spans);
  metric(extra, "gauge", "gritstone_cache_disk_bytes", "Of spans on disk", context.store().span_stats().bytes);
  metric(extra, "gauge", "process_resident_memory_bytes", "Memory this process holds", resident_bytes());
  extra += "# HELP process_cpu_seconds_total CPU time this process used\n# TYPE process_cpu_seconds_total counter\n";
  extra += "process_cpu_seconds_total " + std::to_string(cpu_seconds()) + "\n";
  metric(extra, "gauge", "gritstone_model_ready", "1 once the model is loaded", context.state() == State::kReady ? 1 : 0);
  reply.send(200, "text/plain; version=0.0.4; charset=utf-8", context.metrics().text(extra));
}

}  // namespace

void add_health_routes(Router& router, ServerContext& context) {
  for (const char* path : {"/health", "/v1/health"}) {
    router.add({.method = "GET",
                .path = path,
                .handler = [&context](const Request&, ReplyWriter& reply) { health(context, reply); },
                .auth = Auth::kPublic});
  }
  router.add({.method = "GET",
              .path = "/ready",
              .handler = [&context](const Request&, ReplyWriter& reply) { ready(context, reply); },
              .auth = Auth::kPublic});
  router.add({.method = "GET", .path = "/metrics", .handler = [&context](const Request&, ReplyWriter& reply) { metrics(context, reply); }});
}

}  // namespace gritstone
