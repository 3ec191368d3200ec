#include "apps/server/transport.h"

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <filesystem>

#include "base/error.h"

namespace gritstone {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

class PlainTransport final : public Transport {
 public:
  explicit PlainTransport(tcp::socket socket) : socket_(std::move(socket)) {}

  asio::awaitable<void> handshake(error_code&) override { co_return; }
  void read_some(asio::mutable_buffer buffer, Done done) override { socket_.async_read_some(buffer, std::move(done)); }
  asio::awaitable<std::size_t> write_some(asio::const_buffer buffer, error_code& ec) override {
    co_return co_await socket_.async_write_some(buffer, asio::redirect_error(asio::use_awaitable, ec));
  }
  asio::awaitable<void> shutdown_send() override {
    error_code ignored;
    socket_.shutdown(tcp::socket::shutdown_send, ignored);
    co_return;
  }
  void cancel() noexcept override {
    error_code ignored;
    socket_.cancel(ignored);
  }
  void close() noexcept override {
    error_code ignored;
    socket_.close(ignored);
  }

 private:
  tcp::socket socket_;
};

class TlsTransport final : public Transport {
 public:
  TlsTransport(tcp::socket socket, asio::ssl::context& context) : stream_(std::move(socket), context) {}

  asio::awaitable<void> handshake(error_code& ec) override {
    co_await stream_.async_handshake(asio::ssl::stream_base::server, asio::redirect_error(asio::use_awaitable, ec));
  }
  void read_some(asio::mutable_buffer buffer, Done done) override { stream_.async_read_some(buffer, std::move(done)); }
  asio::awaitable<std::size_t> write_some(asio::const_buffer buffer, error_code& ec) override {
    co_return co_await stream_.async_write_some(buffer, asio::redirect_error(asio::use_awaitable, ec));
  }
  asio::awaitable<void> shutdown_send() override {
    // Without TLS's own goodbye: async_shutdown() may not run beside the read that is always pending, and every answer of ours says where
    // it ends.
    error_code ignored;
    stream_.next_layer().shutdown(tcp::socket::shutdown_send, ignored);
    co_return;
  }
  void cancel() noexcept override {
    error_code ignored;
    stream_.next_layer().cancel(ignored);
  }
  void close() noexcept override {
    error_code ignored;
    stream_.next_layer().close(ignored);
  }

 private:
  asio::ssl::stream<tcp::socket> stream_;
};

}  // namespace

std::unique_ptr<Transport> make_transport(tcp::socket socket, asio::ssl::context* tls) {
  if (tls == nullptr) return std::make_unique<PlainTransport>(std::move(socket));
  return std::make_unique<TlsTransport>(std::move(socket), *tls);
}

std::unique_ptr<asio::ssl::context> make_tls_context(const std::string& certificate, const std::string& key) {
  for (const std::string& file : {certificate, key}) {
    if (!std::filesystem::exists(file)) throw Error(ErrorCode::kNotFound, file + " does not exist");
  }
  auto context = std::make_unique<asio::ssl::context>(asio::ssl::context::tls_server);
  error_code ec;
  context->set_options(asio::ssl::context::default_workarounds | asio::ssl::context::no_tlsv1 | asio::ssl::context::no_tlsv1_1 |
                           asio::ssl::context::no_compression,
                       ec);
  context->use_certificate_chain_file(certificate, ec);
  if (ec) throw Error(ErrorCode::kInvalidArgument, "--tls-cert " + certificate + ": " + ec.message());
  context->use_private_key_file(key, asio::ssl::context::pem, ec);
  if (ec) throw Error(ErrorCode::kInvalidArgument, "--tls-key " + key + ": " + ec.message());
  if (::SSL_CTX_check_private_key(context->native_handle()) != 1) {
    throw Error(ErrorCode::kInvalidArgument, "--tls-key " + key + " does not belong to " + certificate);
  }
  return context;
}

}  // namespace gritstone
