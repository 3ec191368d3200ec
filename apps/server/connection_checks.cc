// What a connection decides about a request before its body is read.
#include <boost/asio/post.hpp>

#include "apps/server/connection.h"
#include "apps/server/trace_context.h"

namespace gritstone {
namespace {

// "application/json; charset=utf-8" without its parameters, in lower case.
std::string media_type(const std::string& value) {
  std::string type = value.substr(0, value.find(';'));
  while (!type.empty() && (type.back() == ' ' || type.back() == '\t')) type.pop_back();
  for (char& c : type) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return type;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

std::optional<ApiError> check_body(const RequestHead& head, const Route& route) {
  const std::uint64_t length = head.content_length.value_or(0);
  const std::string type = media_type(head.field("content-type"));
  const auto wrong_type = [](const char* wanted) {
    return ApiError(415, "invalid_request_error", std::string("the Content-Type must be ") + wanted, {}, "unsupported_media_type");
  };
  switch (route.body) {
    case BodyKind::kNone:
      if (length > 0) return ApiError(400, "invalid_request_error", "this request takes no body", {}, "unexpected_body");
      return std::nullopt;
    case BodyKind::kOptionalJson:
      if (length == 0) return std::nullopt;
      if (type != "application/json") return wrong_type("application/json");
      break;
    case BodyKind::kJson:
      if (type != "application/json") return wrong_type("application/json");
      break;
    case BodyKind::kMultipart:
      if (type != "multipart/form-data") return wrong_type("multipart/form-data");
      break;
  }
  if (!head.content_length) return ApiError(411, "invalid_request_error", "Content-Length is missing", {}, "length_required");
  if (length > route.body_limit) {
    return ApiError(413, "invalid_request_error",
                    "the body has " + std::to_string(length) + " bytes, at most " + std::to_string(route.body_limit) + " are allowed", {},
                    "body_too_large");
  }
  return std::nullopt;
}

}  // namespace

std::shared_ptr<Exchange> Connection::make_exchange(const RequestHead& head) {
  Exchange::Wire wire;
  wire.http10 = head.version == 10;
  wire.head_only = head.method == "HEAD";
  wire.keep_alive = head.keep_alive && !core_.draining && ++served_ < core_.limits.requests_per_connection;
  wire.cors_origin = core_.policy.cors_origin(head);
  {
    const std::lock_guard lock(core_.mutex);
    ++core_.exchanges;
  }
  ++core_.context.metrics().requests_running;
  // Called from workers, perhaps when the connection is gone.
  const auto changed = [&io = core_.io, weak = weak_from_this()] {
    boost::asio::post(io, [weak] {
      if (const std::shared_ptr<Connection> self = weak.lock()) self->notice_change();
    });
  };
  ServerCore& core = core_;
  auto exchange =
      std::make_shared<Exchange>(core_.limits, wire, changed, [&core](AccessRecord record) { core.on_exchange_end(std::move(record)); });
  Request& request = exchange->request;
  request.method = head.method;
  request.path = head.path;
  request.headers = head.fields;
  request.remote = remote_;
  exchange->number = ++core_.next_request;
  request.id = core_.id_prefix + std::to_string(exchange->number);
  request.trace = trace_id(head.field("traceparent"));
  return exchange;
}

std::optional<ApiError> Connection::check(const RequestHead& head, Exchange& exchange) const {
  if (std::optional<ApiError> error = core_.policy.check_host(head)) return error;
  Router::Match match = core_.router.match(head.method, head.path);
  exchange.route = match.route;
  if (std::optional<ApiError> error = core_.policy.check_origin(head, match.route)) return error;
  if (head.method == "OPTIONS") {
    if (match.allowed.empty() && head.path != "*") return ApiError::not_found("there is no such path", {}, "unknown_path");
    return std::nullopt;
  }
  if (match.route == nullptr || match.route->auth == Auth::kRequired) {
    if (std::optional<ApiError> error = core_.policy.check_key(head)) return error;
  }
  if (match.route == nullptr) {
    if (match.allowed.empty()) return ApiError::not_found("there is no such path", {}, "unknown_path");
    exchange.set_header("Allow", joined(match.allowed));
    return ApiError(405, "invalid_request_error", "this path allows " + joined(match.allowed), {}, "method_not_allowed");
  }
  if (core_.draining) return ApiError::unavailable("the server is stopping", 5);
  if (std::optional<ApiError> error = check_body(head, *match.route)) return error;
  if (core_.body_bytes + head.content_length.value_or(0) > core_.limits.body_memory) {
    return ApiError::busy("the server is receiving too much at a time", 1);
  }
  const std::optional<std::string> path = percent_decode(head.path);
  std::optional<std::vector<std::pair<std::string, std::string>>> query = parse_query(head.query);
  if (!path || !query) return ApiError::bad_request("the request target has a malformed percent escape", {}, "malformed_request");
  exchange.request.path = *path;
  exchange.request.query = std::move(*query);
  exchange.request.params = std::move(match.params);
  return std::nullopt;
}

bool Connection::answer_options(const RequestHead& head, Exchange& exchange) const {
  if (head.method != "OPTIONS") return false;
  const std::string allowed = joined(core_.router.match(head.method, head.path).allowed);
  exchange.set_header("Allow", allowed.empty() ? "GET, HEAD, POST, DELETE, OPTIONS" : allowed);
  if (!core_.policy.cors_origin(head).empty() && !head.field("access-control-request-method").empty()) {
    exchange.set_header("Access-Control-Allow-Methods", allowed);
    exchange.set_header("Access-Control-Allow-Headers", "Authorization, Content-Type, traceparent");
    exchange.set_header("Access-Control-Max-Age", "600");
  }
  exchange.send(204, "", {});
  return true;
}

}  // namespace gritstone
