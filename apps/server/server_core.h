// What the connections of one server share.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ssl/context.hpp>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "apps/server/access_log.h"
#include "apps/server/exchange.h"
#include "apps/server/router.h"
#include "apps/server/security.h"
#include "apps/server/server_context.h"
#include "apps/server/work_queue.h"

namespace gritstone {

class Connection;

// Members without a comment belong to the I/O thread.
struct ServerCore {
  ServerCore(ServerContext& server_context, const Router& routes, AccessLog& access_log);

  // Thread-safe: the end of every exchange.
  void on_exchange_end(const AccessRecord& record);
  // Hands a complete request to the workers, or refuses it. The exchange gets an answer in any case.
  void dispatch(const std::shared_ptr<Exchange>& exchange);
  // Takes it out of the line, if it still waits there.
  bool cancel(std::uint64_t number);

  ServerContext& context;
  const Router& router;
  AccessLog& log;  // thread-safe
  const ServerLimits limits;
  const SecurityPolicy policy;
  std::unique_ptr<boost::asio::ssl::context> tls;

  bool draining = false;
  std::size_t body_bytes = 0;
  std::map<std::string, std::size_t> by_address;
  std::unordered_map<Connection*, std::weak_ptr<Connection>> connections;
  std::uint64_t next_request = 0;
  std::string id_prefix;  // random, so that ids of two runs differ

  std::mutex mutex;  // of `exchanges`
  std::condition_variable exchange_ended;
  std::size_t exchanges = 0;

  // After everything that connections touch when they are destroyed with it.
  boost::asio::io_context io{1};

  // Last: their threads end before what they use goes.
  WorkQueue model_queue;
  WorkQueue light_queue;

 private:
  void run(Exchange& exchange);
};

}  // namespace gritstone
