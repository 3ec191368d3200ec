#include "apps/server/server_core.h"

#include <random>

#include "base/error.h"

namespace gritstone {
namespace {

constexpr std::size_t kLightThreads = 4;
constexpr std::size_t kLightQueue = 256;

std::string random_prefix() {
  std::random_device random;
  const std::uint32_t value = random();
  return "req_" + to_hex(std::span(reinterpret_cast<const std::uint8_t*>(&value), sizeof value)) + "_";
}

}  // namespace

ServerCore::ServerCore(ServerContext& server_context, const Router& routes, AccessLog& access_log)
    : context(server_context),
      router(routes),
      log(access_log),
      limits(server_context.options().limits),
      policy(server_context.options()),
      id_prefix(random_prefix()),
      model_queue(limits.slots, limits.queue),
      light_queue(kLightThreads, kLightQueue) {}

void ServerCore::on_exchange_end(const AccessRecord& record) {
  Metrics& metrics = context.metrics();
  metrics.count_request(record.route, record.method == "HEAD" ? "GET" : record.method, record.status, record.milliseconds / 1e3);
  metrics.count_tokens(record.prompt_tokens, record.cached_tokens, record.completion_tokens);
  if (record.ended == "disconnect") ++metrics.disconnects;
  if (record.ended == "deadline") ++metrics.deadlines;
  if (record.ended == "slow_reader") ++metrics.slow_readers;
  log.request(record);
  --metrics.requests_running;
  const std::lock_guard lock(mutex);
  --exchanges;
  exchange_ended.notify_all();
}

void ServerCore::run(Exchange& exchange) {
  exchange.mark_started();
  try {
    if (exchange.request.cancel.stop_requested()) throw Error(ErrorCode::kCancelled, "stopped before it began");
    exchange.route->handler(exchange.request, exchange);
    exchange.finish();
  } catch (const std::exception& error) {
    exchange.fail(error);
  } catch (...) {
    exchange.fail(std::runtime_error("a handler threw something that is no exception"));
  }
}

void ServerCore::dispatch(const std::shared_ptr<Exchange>& exchange) {
  Metrics& metrics = context.metrics();
  if (exchange->route->work == Work::kLight) {
    if (!light_queue.submit(exchange->number, [this, exchange] { run(*exchange); }))
      exchange->fail(ApiError::busy("the server is overloaded", 1));
    return;
  }
  try {
    context.model();
  } catch (const ApiError& error) {
    exchange->fail(error);
    return;
  }
  ++metrics.queue_length;
  const bool accepted = model_queue.submit(exchange->number, [this, exchange, &metrics] {
    --metrics.queue_length;
    ++metrics.slots_busy;
    metrics.observe_stage(Stage::kQueue,
                          std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - exchange->request.received).count());
    run(*exchange);
    --metrics.slots_busy;
  });
  if (accepted) return;
  --metrics.queue_length;
  ++metrics.refused_queue_full;
  const std::string message = "all " + std::to_string(limits.slots) + " slots are busy and " + std::to_string(limits.queue) +
                              " requests wait already; try again later";
  exchange->fail(ApiError::busy(message, model_queue.retry_after_seconds()));
}

bool ServerCore::cancel(std::uint64_t number) {
  if (light_queue.cancel(number)) return true;
  if (!model_queue.cancel(number)) return false;
  --context.metrics().queue_length;
  return true;
}

}  // namespace gritstone
