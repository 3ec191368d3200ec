// A small HTTP/1.1 client that blocks: for services that evaluate us, embed for us, or are measured by us.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "apps/server/client/event_stream.h"
#include "apps/server/client/http_url.h"

namespace gritstone {

struct ServiceClientOptions {
  std::chrono::milliseconds connect_limit{10'000};   // name, connection and TLS together
  std::chrono::milliseconds silence_limit{300'000};  // longest wait for the next byte; a stream that pings may last as long as it likes
  std::size_t max_body = std::size_t{64} << 20;
  std::string bearer;  // key; empty: none is sent
};

struct HttpCall {
  std::string_view method = "GET";
  std::string_view target;  // below the client's base: "/embeddings"
  std::string_view body;    // JSON, with POST
  // Events of a text/event-stream answer with status 200, on the calling thread as they come. Empty: they are a body like any other.
  std::function<void(StreamEvent&&)> on_event;
  std::stop_token stop;
};

struct HttpReply {
  int status = 0;
  std::string content_type;
  std::string body;                   // empty where events were handed out
  std::optional<double> retry_after;  // seconds, where the server says so as a number
  bool ok() const noexcept { return status >= 200 && status < 300; }
};

// Thread-safe: calls at the same time have a connection each, which is kept for the next ones. Follows no redirect, knows no proxy.
class ServiceClient {
 public:
  // Throws Error(kInvalidArgument) if the key could not stand in a header.
  ServiceClient(HttpUrl base, ServiceClientOptions options);
  ~ServiceClient();
  ServiceClient(const ServiceClient&) = delete;
  ServiceClient& operator=(const ServiceClient&) = delete;

  const HttpUrl& base() const noexcept { return base_; }

  // Any status is an answer: see require_ok(). A kept connection that the server had closed meanwhile is replaced without a word.
  // Throws Error, its message beginning with the address: kUnavailable (what ClientConnection throws; an answer that is no HTTP, is too
  // large, or ends half-way), kCancelled; and what on_event throws.
  HttpReply call(const HttpCall& call);

 private:
  struct Impl;  // the connections, so that no other header needs Boost
  const HttpUrl base_;
  const ServiceClientOptions options_;
  const std::unique_ptr<Impl> impl_;
};

// "URL: status 429: the server's own message"; with what was expected where the answer is no error in JSON.
std::string refusal_text(const std::string& url, const HttpReply& reply);
// Throws Error unless the status is 2xx: kUnavailable for 408, 429 and 5xx, which another try may mend; else kInvalidArgument.
void require_ok(const std::string& url, const HttpReply& reply);

// The key to send: the first line of `file` (which nobody else may read), or the variable `variable` of the environment, or none.
// Throws Error: kNotFound, kInvalidArgument naming `option`, never the key.
std::string client_key(const std::string& file, const std::string& option, const char* variable);

}  // namespace gritstone
