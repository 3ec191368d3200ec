// One client: requests in, answers out, one after the other.
#pragma once

#include <array>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "apps/server/exchange.h"
#include "apps/server/http_head.h"
#include "apps/server/server_core.h"
#include "apps/server/transport.h"

namespace gritstone {

// Lives on the I/O thread. A read is always pending while an answer is made, so that a client that leaves is noticed at once; what it sends
// meanwhile is the start of its next request. A client that closes its sending side counts as gone.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(ServerCore& core, std::unique_ptr<Transport> transport, std::string remote);
  ~Connection();

  // Until the connection has ended; never throws.
  boost::asio::awaitable<void> run();
  // Draining: ends it if it waits for a request.
  void stop_if_idle();
  // The running request, if there is one.
  void stop_request(StopReason reason);

 private:
  using Clock = std::chrono::steady_clock;
  enum class Next { kKeepAlive, kClose, kLinger };  // kLinger: the client may still be sending what will not be read

  boost::asio::awaitable<Next> serve_one();
  boost::asio::awaitable<Next> answer(RequestHead head);
  boost::asio::awaitable<bool> read_head(std::optional<HeadError>& error, std::string& bytes);
  boost::asio::awaitable<bool> read_body(std::size_t length, bool expects_continue, Exchange& exchange);
  // Sends the answer while it is made; false if the connection cannot be used any more.
  boost::asio::awaitable<bool> pump(std::shared_ptr<Exchange> exchange);
  boost::asio::awaitable<bool> write(std::string_view bytes, Exchange* exchange);
  boost::asio::awaitable<void> linger();

  std::shared_ptr<Exchange> make_exchange(const RequestHead& head);
  // What refuses the request before its body is read; sets the exchange's route.
  std::optional<ApiError> check(const RequestHead& head, Exchange& exchange) const;
  bool answer_options(const RequestHead& head, Exchange& exchange) const;

  // Reads once more; false at the end of the input, on errors and when the watchdog fired.
  boost::asio::awaitable<bool> fill();
  void start_read();
  boost::asio::awaitable<void> wait(Clock::time_point until);
  void wake() { changed_.cancel(); }
  void arm(std::chrono::milliseconds limit);
  void disarm();
  void notice_change();

  ServerCore& core_;
  std::unique_ptr<Transport> transport_;
  const std::string remote_;
  boost::asio::steady_timer changed_;
  boost::asio::steady_timer watchdog_;
  std::uint64_t armed_ = 0;
  bool timed_out_ = false;
  std::size_t served_ = 0;  // requests begun
  bool idle_ = false;
  std::array<char, 16384> chunk_;
  std::string in_;
  bool reading_ = false;
  bool read_failed_ = false;
  std::shared_ptr<Exchange> current_;
};

}  // namespace gritstone
