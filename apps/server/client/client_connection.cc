#include "apps/server/client/client_connection.h"

#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/write.hpp>
#include <cstdio>

#include "base/error.h"

namespace gritstone {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

std::string seconds_text(std::chrono::milliseconds limit) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g s", static_cast<double>(limit.count()) / 1e3);
  return text;
}

bool is_end(const error_code& ec) {
  return ec == asio::error::eof || ec == asio::error::connection_reset || ec == asio::error::broken_pipe ||
         ec == asio::error::connection_aborted || ec == asio::ssl::error::stream_truncated;
}

}  // namespace

ClientConnection::ClientConnection(const HttpUrl& url, asio::ssl::context* tls, Milliseconds limit, const std::stop_token& stop)
    : url_(url), resolver_(io_), socket_(io_) {
  if (url_.tls) tls_ = std::make_unique<asio::ssl::stream<tcp::socket&>>(socket_, *tls);
  connect(limit, stop);
}

void ClientConnection::fail(const std::string& what) const { throw Error(ErrorCode::kUnavailable, url_.text() + ": " + what); }

std::size_t ClientConnection::run(const std::function<void(Done)>& start, Clock::time_point deadline, const std::stop_token& stop,
                                  const char* what, Milliseconds limit, error_code& ec) {
  bool done = false;
  std::size_t bytes = 0;
  io_.restart();
  start([&](const error_code& result, std::size_t n) {
    done = true;
    ec = result;
    bytes = n;
  });
  const std::stop_callback wake(stop, [this] { asio::post(io_, [] {}); });
  while (!done) {
    const bool stopped = stop.stop_requested();
    if (!stopped && Clock::now() < deadline) {
      io_.run_one_until(deadline);
      continue;
    }
    // Closing ends what is under way; its handler refers to this frame, so it must run before we leave.
    error_code ignored;
    resolver_.cancel();
    socket_.close(ignored);
    while (!done && io_.run_one() > 0) {
    }
    if (stopped) throw Error(ErrorCode::kCancelled, url_.text() + ": interrupted");
    fail(std::string("no ") + what + " within " + seconds_text(limit));
  }
  return bytes;
}

void ClientConnection::connect(Milliseconds limit, const std::stop_token& stop) {
  const Clock::time_point deadline = Clock::now() + limit;
  error_code ec;
  tcp::resolver::results_type found;
  run(
      [&](Done done) {
        resolver_.async_resolve(url_.host, url_.port, [&found, done](const error_code& result, tcp::resolver::results_type results) {
          found = std::move(results);
          done(result, 0);
        });
      },
      deadline, stop, "address of the host", limit, ec);
  if (ec) fail("the host is not known (" + ec.message() + ")");
  run([&](Done done) { asio::async_connect(socket_, found, [done](const error_code& result, const tcp::endpoint&) { done(result, 0); }); },
      deadline, stop, "connection", limit, ec);
  if (ec == asio::error::connection_refused) fail("connection refused; is the service running?");
  if (ec) fail("no connection (" + ec.message() + ")");
  socket_.set_option(tcp::no_delay(true), ec);
  if (!tls_) return;
  tls_->set_verify_mode(asio::ssl::verify_peer);
  const bool name = url_.host.find_first_not_of("0123456789.") != std::string::npos && url_.host.find(':') == std::string::npos;
  ::X509_VERIFY_PARAM* expected = ::SSL_get0_param(tls_->native_handle());
  if (name) {
    // No addresses (RFC 6066, section 3). What SSL_set_tlsext_host_name() is without its cast.
    ::SSL_ctrl(tls_->native_handle(), SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, const_cast<char*>(url_.host.c_str()));
    ::X509_VERIFY_PARAM_set_hostflags(expected, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    ::X509_VERIFY_PARAM_set1_host(expected, url_.host.c_str(), 0);
  } else {
    ::X509_VERIFY_PARAM_set1_ip_asc(expected, url_.host.c_str());
  }
  run([&](Done done) { tls_->async_handshake(asio::ssl::stream_base::client, [done](const error_code& result) { done(result, 0); }); },
      deadline, stop, "TLS handshake", limit, ec);
  if (!ec) return;
  const long verified = ::SSL_get_verify_result(tls_->native_handle());
  if (verified != X509_V_OK) fail(std::string("the certificate does not hold (") + ::X509_verify_cert_error_string(verified) + ")");
  fail("no TLS connection (" + ec.message() + ")");
}

bool ClientConnection::write(std::string_view bytes, Milliseconds limit, const std::stop_token& stop) {
  error_code ec;
  const asio::const_buffer buffer(bytes.data(), bytes.size());
  run(
      [&](Done done) {
        if (tls_) {
          asio::async_write(*tls_, buffer, done);
        } else {
          asio::async_write(socket_, buffer, done);
        }
      },
      Clock::now() + limit, stop, "room for the request", limit, ec);
  if (!ec) return true;
  if (is_end(ec)) return false;
  fail(ec.message());
}

std::size_t ClientConnection::read_some(std::span<char> into, Milliseconds limit, const std::stop_token& stop) {
  error_code ec;
  const asio::mutable_buffer buffer(into.data(), into.size());
  const std::size_t bytes = run(
      [&](Done done) {
        if (tls_) {
          tls_->async_read_some(buffer, done);
        } else {
          socket_.async_read_some(buffer, done);
        }
      },
      Clock::now() + limit, stop, "answer", limit, ec);
  if (ec && !is_end(ec)) fail(ec.message());
  return ec ? 0 : bytes;
}

std::unique_ptr<asio::ssl::context> make_client_tls() {
  auto context = std::make_unique<asio::ssl::context>(asio::ssl::context::tls_client);
  error_code ec;
  context->set_options(asio::ssl::context::default_workarounds | asio::ssl::context::no_tlsv1 | asio::ssl::context::no_tlsv1_1 |
                           asio::ssl::context::no_compression,
                       ec);
  context->set_default_verify_paths(ec);
  return context;
}

}  // namespace gritstone
