// The HTTP server: listens, answers from a route table, and ends in good order.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "apps/server/access_log.h"
#include "apps/server/router.h"
#include "apps/server/server_context.h"

namespace gritstone {

// All I/O is on one thread, handlers are on worker threads. Used from one thread; borrows what it is given, which must outlive it.
class Server {
 public:
  // Throws Error: kInvalidArgument (address other machines can reach without a key, TLS files), kNotFound.
  Server(ServerContext& context, const Router& router, AccessLog& log);
  ~Server();  // as stop(), without waiting for requests

  // Binds and begins to accept. Throws Error(kInvalidArgument) naming address and port if that is not possible.
  void start();
  std::uint16_t port() const noexcept;    // after start()
  std::vector<std::string> urls() const;  // "http://127.0.0.1:8080"

  // Accepts no more, finishes what was accepted, for at most the drain limit; then stops what is left and ends. Returns whether everything
  // was finished.
  bool stop();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gritstone
