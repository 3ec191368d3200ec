// A complete HTTP request, as handlers see it.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gritstone {

// Everything was checked against the route's limits before a handler sees it; the content of `body` was not.
struct Request {
  std::string method;                                        // "POST"; a HEAD request is handled as GET
  std::string path;                                          // percent-decoded, without query
  std::map<std::string, std::string> params;                 // of the route's template, decoded: {"id", "vs_notes"}
  std::vector<std::pair<std::string, std::string>> query;    // decoded, in order
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case, in order
  std::string body;
  std::string remote;  // address of the peer, without port
  std::string id;      // unique in this process ("req_..."); also sent as X-Request-Id
  std::string trace;   // W3C trace id, if a valid traceparent came
  std::chrono::steady_clock::time_point received{};
  std::chrono::steady_clock::time_point deadline{};
  // Fires when the client is gone, reads too slowly, the deadline has passed, or the server stops. Pass it on to everything that takes
  // time; what that throws (Error(kCancelled)) becomes the right status by itself.
  std::stop_token cancel;

  // Empty if there is none.
  std::string header(std::string_view lower_case_name) const;
  std::string param(const std::string& name) const;
  std::optional<std::string> query_value(std::string_view name) const;
};

}  // namespace gritstone
