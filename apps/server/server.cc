#include "apps/server/server.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <thread>

#include "apps/server/connection.h"
#include "apps/server/server_core.h"
#include "apps/server/transport.h"
#include "base/error.h"

namespace gritstone {
namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

class Server::Impl {
 public:
  Impl(ServerContext& context, const Router& router, AccessLog& log)
      : core_(context, router, log), guard_(asio::make_work_guard(core_.io)) {
    const ServerOptions& options = context.options();
    require_key_beyond_loopback(options);
    if (options.tls_certificate.empty() != options.tls_key.empty()) {
      throw Error(ErrorCode::kInvalidArgument, "--tls-cert and --tls-key belong together");
    }
    if (!options.tls_certificate.empty()) core_.tls = make_tls_context(options.tls_certificate, options.tls_key);
  }

  ~Impl() { end(); }

  void start() {
    for (const tcp::endpoint& endpoint : endpoints()) listen(endpoint);
    for (const std::unique_ptr<tcp::acceptor>& acceptor : acceptors_) {
      asio::co_spawn(core_.io, accept(*acceptor), asio::detached);
    }
    io_thread_ = std::thread([this] { run_io(); });
  }

  std::uint16_t port() const noexcept { return port_; }

  std::vector<std::string> urls() const {
    std::vector<std::string> urls;
    const std::string scheme = core_.tls ? "https://" : "http://";
    for (const tcp::endpoint& endpoint : bound_) {
      const std::string address = endpoint.address().to_string();
      urls.push_back(scheme + (endpoint.address().is_v6() ? "[" + address + "]" : address) + ":" + std::to_string(port_));
    }
    return urls;
  }

  bool stop() {
    if (!io_thread_.joinable()) return true;
    core_.context.begin_stopping();
    asio::post(core_.io, [this] {
      core_.draining = true;
      error_code ignored;
      for (const std::unique_ptr<tcp::acceptor>& acceptor : acceptors_) acceptor->close(ignored);
      each_connection([](Connection& connection) { connection.stop_if_idle(); });
    });
    const bool finished = wait_for_exchanges(core_.limits.drain);
    if (!finished) {
      asio::post(core_.io, [this] { each_connection([](Connection& c) { c.stop_request(StopReason::kShutdown); }); });
      // The last words of streams; a handler that is in the middle of a step of the engine sends none.
      wait_for_exchanges(std::chrono::milliseconds(1000));
    }
    end();
    return finished;
  }

 private:
  std::vector<tcp::endpoint> endpoints() {
    const ServerOptions& options = core_.context.options();
    if (options.host == "localhost") {
      return {{asio::ip::address_v4::loopback(), options.port}, {asio::ip::address_v6::loopback(), options.port}};
    }
    std::string host = options.host;
    if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
    error_code ec;
    const asio::ip::address address = asio::ip::make_address(host, ec);
    if (!ec) return {{address, options.port}};
    tcp::resolver resolver(core_.io);
    std::vector<tcp::endpoint> found;
    for (const auto& entry : resolver.resolve(host, std::to_string(options.port), ec)) found.push_back(entry.endpoint());
    if (ec || found.empty()) throw Error(ErrorCode::kInvalidArgument, "--host " + options.host + " is not an address of this machine");
    return found;
  }

  void listen(tcp::endpoint endpoint) {
    // With port 0 the second address takes the port that the first was given.
    if (port_ != 0) endpoint.port(port_);
    auto acceptor = std::make_unique<tcp::acceptor>(core_.io);
    error_code ec;
    acceptor->open(endpoint.protocol(), ec);
    if (!ec) acceptor->set_option(tcp::acceptor::reuse_address(true), ec);
    if (!ec && endpoint.address().is_v6()) acceptor->set_option(asio::ip::v6_only(true), ec);
    if (!ec) acceptor->bind(endpoint, ec);
    if (!ec) acceptor->listen(tcp::acceptor::max_listen_connections, ec);
    if (ec) {
      // A machine without IPv6 still has localhost.
      if (!acceptors_.empty() && endpoint.address().is_v6() && core_.context.options().host == "localhost") return;
      throw Error(ErrorCode::kInvalidArgument,
                  "cannot listen on " + endpoint.address().to_string() + " port " + std::to_string(endpoint.port()) + ": " + ec.message());
    }
    port_ = acceptor->local_endpoint().port();
    bound_.push_back(acceptor->local_endpoint());
    acceptors_.push_back(std::move(acceptor));
  }

  asio::awaitable<void> accept(tcp::acceptor& acceptor) {
    for (;;) {
      error_code ec;
      tcp::socket socket = co_await acceptor.async_accept(asio::redirect_error(asio::use_awaitable, ec));
      if (!acceptor.is_open()) co_return;
      if (ec) {
        // Out of file descriptors, or the peer left already: both pass.
        asio::steady_timer pause(core_.io, std::chrono::milliseconds(ec == asio::error::connection_aborted ? 0 : 50));
        co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, ec));
        continue;
      }
      admit(std::move(socket));
    }
  }

  void admit(tcp::socket socket) {
    error_code ec;
    const tcp::endpoint peer = socket.remote_endpoint(ec);
    if (ec) return;
    const std::string address = peer.address().to_string();
    const auto count = core_.by_address.find(address);
    // Behind a proxy of this machine everybody comes from loopback.
    const bool too_many =
        !peer.address().is_loopback() && count != core_.by_address.end() && count->second >= core_.limits.connections_per_address;
    if (too_many || core_.connections.size() >= core_.limits.connections || core_.draining) {
      ++core_.context.metrics().refused_connections;
      return;
    }
    socket.set_option(tcp::no_delay(true), ec);
    auto connection = std::make_shared<Connection>(core_, make_transport(std::move(socket), core_.tls.get()), address);
    core_.connections.emplace(connection.get(), connection);
    asio::co_spawn(core_.io, connection->run(), [this](const std::exception_ptr& error) { report(error); });
  }

  void report(const std::exception_ptr& error) {
    if (!error) return;
    try {
      std::rethrow_exception(error);
    } catch (const std::exception& e) {
      core_.log.event("error", std::string("a connection ended unexpectedly: ") + e.what());
    }
  }

  void run_io() {
    // What escapes one connection must not end the others.
    for (;;) {
      try {
        core_.io.run();
        return;
      } catch (const std::exception& error) {
        core_.log.event("error", std::string("unexpected error in the I/O loop: ") + error.what());
      }
    }
  }

  template <typename Do>
  void each_connection(const Do& act) {
    for (const auto& [pointer, weak] : core_.connections) {
      if (const std::shared_ptr<Connection> connection = weak.lock()) act(*connection);
    }
  }

  bool wait_for_exchanges(std::chrono::milliseconds limit) {
    std::unique_lock lock(core_.mutex);
    return core_.exchange_ended.wait_for(lock, limit, [&] { return core_.exchanges == 0; });
  }

  void end() {
    if (io_thread_.joinable()) {
      asio::post(core_.io, [this] {
        error_code ignored;
        for (const std::unique_ptr<tcp::acceptor>& acceptor : acceptors_) acceptor->close(ignored);
        each_connection([](Connection& connection) { connection.stop_request(StopReason::kShutdown); });
      });
    }
    core_.model_queue.stop();
    core_.light_queue.stop();
    guard_.reset();
    core_.io.stop();
    if (io_thread_.joinable()) io_thread_.join();
  }

  ServerCore core_;
  asio::executor_work_guard<asio::io_context::executor_type> guard_;
  std::vector<std::unique_ptr<tcp::acceptor>> acceptors_;
  std::vector<tcp::endpoint> bound_;
  std::uint16_t port_ = 0;
  std::thread io_thread_;
};

Server::Server(ServerContext& context, const Router& router, AccessLog& log) : impl_(std::make_unique<Impl>(context, router, log)) {}
Server::~Server() = default;
void Server::start() { impl_->start(); }
std::uint16_t Server::port() const noexcept { return impl_->port(); }
std::vector<std::string> Server::urls() const { return impl_->urls(); }
bool Server::stop() { return impl_->stop(); }

}  // namespace gritstone
