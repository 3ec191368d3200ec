// A socket with or without TLS. Only for the server's I/O thread.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <functional>
#include <memory>
#include <string>

namespace gritstone {

class Transport {
 public:
  using Done = std::function<void(const boost::system::error_code&, std::size_t)>;
  virtual ~Transport() = default;

  virtual boost::asio::awaitable<void> handshake(boost::system::error_code& ec) = 0;
  // `buffer` must stay until `done` is called; one read at a time, beside which one write may be under way.
  virtual void read_some(boost::asio::mutable_buffer buffer, Done done) = 0;
  virtual boost::asio::awaitable<std::size_t> write_some(boost::asio::const_buffer buffer, boost::system::error_code& ec) = 0;
  // Says that nothing more will be sent, so that the peer reads what is under way before it sees the end.
  virtual boost::asio::awaitable<void> shutdown_send() = 0;
  // What is under way ends with operation_aborted.
  virtual void cancel() noexcept = 0;
  virtual void close() noexcept = 0;
};

// tls: null for plain text; must outlive the transport.
std::unique_ptr<Transport> make_transport(boost::asio::ip::tcp::socket socket, boost::asio::ssl::context* tls);

// TLS 1.2 and newer. Throws Error: kNotFound, kInvalidArgument naming the file that OpenSSL does not take.
std::unique_ptr<boost::asio::ssl::context> make_tls_context(const std::string& certificate, const std::string& key);

}  // namespace gritstone
