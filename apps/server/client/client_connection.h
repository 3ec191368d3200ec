// One connection to a service, plain or TLS, whose every operation has a time limit and can be stopped.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>

#include "apps/server/client/http_url.h"

namespace gritstone {

// Used from one thread at a time; blocks. Every function throws Error: kUnavailable, its message beginning with the service's address (no
// such host, refused, the certificate does not hold, silent for longer than the limit); kCancelled once `stop` was requested. A connection
// that threw is of no more use.
class ClientConnection {
 public:
  using Milliseconds = std::chrono::milliseconds;

  // tls: of make_client_tls(), for https; outlives the connection. limit: for name, connection and handshake together.
  ClientConnection(const HttpUrl& url, boost::asio::ssl::context* tls, Milliseconds limit, const std::stop_token& stop);

  // False if the peer has closed or reset the connection.
  bool write(std::string_view bytes, Milliseconds limit, const std::stop_token& stop);
  // How many bytes came; 0: the peer has closed or reset the connection.
  std::size_t read_some(std::span<char> into, Milliseconds limit, const std::stop_token& stop);

 private:
  using Done = std::function<void(const boost::system::error_code&, std::size_t)>;
  using Clock = std::chrono::steady_clock;
  // Runs one asynchronous operation. what: "a connection", "an answer", for the message when the limit is over.
  std::size_t run(const std::function<void(Done)>& start, Clock::time_point deadline, const std::stop_token& stop, const char* what,
                  Milliseconds limit, boost::system::error_code& ec);
  void connect(Milliseconds limit, const std::stop_token& stop);
  [[noreturn]] void fail(const std::string& what) const;

  const HttpUrl url_;
  boost::asio::io_context io_;
  boost::asio::ip::tcp::resolver resolver_;
  boost::asio::ip::tcp::socket socket_;
  std::unique_ptr<boost::asio::ssl::stream<boost::asio::ip::tcp::socket&>> tls_;  // null: plain
};

// TLS 1.2 and newer; checks certificates against the system's authorities, or those of the file that SSL_CERT_FILE names.
std::unique_ptr<boost::asio::ssl::context> make_client_tls();

}  // namespace gritstone
