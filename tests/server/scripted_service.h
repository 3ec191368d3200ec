// A service on a random loopback port that says what a test wants it to say, byte for byte.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace gritstone {

struct ScriptedRequest {
  std::string head, body;
  std::size_t number = 0;  // 0, 1, ... over all connections
};

class ScriptedService {
 public:
  // Sends pieces of an answer; false once the client has gone.
  using Send = std::function<bool(std::string_view)>;
  // Answers one request; false closes the connection afterwards. Runs on the connection's thread.
  using Handler = std::function<bool(const ScriptedRequest&, const Send&)>;

  explicit ScriptedService(Handler handler) : handler_(std::move(handler)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (::bind(listener_, reinterpret_cast<const sockaddr*>(&address), size) != 0 || ::listen(listener_, 64) != 0 ||
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
      throw std::runtime_error("no port to listen on");
    }
    port_ = ntohs(address.sin_port);
    accepting_ = std::thread([this] { accept_all(); });
  }
  ~ScriptedService() { stop(); }

  std::uint16_t port() const { return port_; }
  std::string url(const std::string& path = {}) const { return "http://127.0.0.1:" + std::to_string(port_) + path; }
  std::size_t requests() const { return requests_; }
  std::size_t connections() const { return connections_; }
  std::vector<std::string> bodies() {
    const std::lock_guard lock(mutex_);
    return bodies_;
  }

  // From now on nobody is answered, and connecting is refused.
  void stop() {
    if (stopped_.exchange(true)) return;
    accepting_.join();
    ::close(listener_);
    for (std::thread& thread : threads_) thread.join();
  }

  static std::string answer(int status, std::string_view body, std::string_view type = "application/json", std::string_view headers = {}) {
    return "HTTP/1.1 " + std::to_string(status) + " Status\r\nContent-Type: " + std::string(type) +
           "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + std::string(headers) + "\r\n" + std::string(body);
  }
  static std::string chunk(std::string_view text) {
    char size[20];
    std::snprintf(size, sizeof size, "%zx\r\n", text.size());
    return size + std::string(text) + "\r\n";
  }

 private:
  static bool readable(int fd) {
    pollfd wait{fd, POLLIN, 0};
    return ::poll(&wait, 1, 20) > 0;
  }

  void accept_all() {
    while (!stopped_) {
      if (!readable(listener_)) continue;
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) continue;
      ++connections_;
      threads_.emplace_back([this, fd] {
        serve(fd);
        ::close(fd);
      });
    }
  }

  void serve(int fd) {
    const Send send = [fd](std::string_view bytes) {
      while (!bytes.empty()) {
        const ssize_t n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (n <= 0) return false;
        bytes.remove_prefix(static_cast<std::size_t>(n));
      }
      return true;
    };
    std::string buffer;
    ScriptedRequest request;
    while (read_request(fd, buffer, request)) {
      request.number = requests_++;
      {
        const std::lock_guard lock(mutex_);
        bodies_.push_back(request.body);
      }
      if (!handler_(request, send)) return;
    }
  }

  bool read_request(int fd, std::string& buffer, ScriptedRequest& request) {
    while (!stopped_) {
      const std::size_t end = buffer.find("\r\n\r\n");
      if (end != std::string::npos) {
        request.head = buffer.substr(0, end);
        const std::size_t at = request.head.find("Content-Length: ");
        const std::size_t length = at == std::string::npos ? 0 : std::stoul(request.head.substr(at + 16));
        if (buffer.size() >= end + 4 + length) {
          request.body = buffer.substr(end + 4, length);
          buffer.erase(0, end + 4 + length);
          return true;
        }
      }
      if (!readable(fd)) continue;
      char bytes[65536];
      const ssize_t n = ::recv(fd, bytes, sizeof bytes, 0);
      if (n <= 0) return false;
      buffer.append(bytes, static_cast<std::size_t>(n));
    }
    return false;
  }

  Handler handler_;
  int listener_ = -1;
  std::uint16_t port_ = 0;
  std::atomic<bool> stopped_{false};
  std::atomic<std::size_t> requests_{0}, connections_{0};
  std::mutex mutex_;
  std::vector<std::string> bodies_;
  std::vector<std::thread> threads_;  // touched by the accepting thread, then by stop()
  std::thread accepting_;
};

}  // namespace gritstone
