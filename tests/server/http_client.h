// A client over raw sockets: sends what a test wants to send, malformed or not, and reads what comes back.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace gritstone {

struct HttpResponse {
  int status = 0;                              // 0: the connection ended before a head was complete
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;                            // chunks joined
  bool complete = false;                       // the body has the length that was promised
  std::string raw;

  rapidjson::Document json() const { return parse_json(body, "response"); }
  // error.X of an error object; empty if it is null or not there.
  std::string error(const char* member) const {
    try {
      const rapidjson::Document document = json();
      if (!document.HasMember("error") || !document["error"].HasMember(member)) return {};
      const rapidjson::Value& value = document["error"][member];
      return value.IsString() ? std::string(value.GetString()) : std::string();
    } catch (const std::exception&) {
      return {};
    }
  }
};

struct SseEvent {
  std::string name;
  std::string data;
};

// "data: a\n\nevent: x\ndata: b\n\n"; comments are left out.
inline std::vector<SseEvent> parse_events(std::string_view text) {
  std::vector<SseEvent> events;
  while (true) {
    const std::size_t end = text.find("\n\n");
    if (end == std::string_view::npos) return events;
    SseEvent event;
    std::string_view block = text.substr(0, end);
    text.remove_prefix(end + 2);
    bool any = false;
    while (!block.empty()) {
      const std::size_t eol = std::min(block.find('\n'), block.size());
      const std::string_view line = block.substr(0, eol);
      block.remove_prefix(std::min(eol + 1, block.size()));
      if (line.starts_with("event: ")) event.name = line.substr(7);
      if (line.starts_with("data: ")) {
        if (any) event.data += '\n';
        event.data += line.substr(6);
        any = true;
      }
    }
    if (any) events.push_back(std::move(event));
  }
}

class HttpClient {
 public:
  explicit HttpClient(std::uint16_t port, int receive_buffer = 0) {
    fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (receive_buffer > 0) ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    const int one = 1;
    ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  ~HttpClient() { close(); }
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  bool connected() const { return connected_; }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  // The peer sees a reset instead of an orderly end.
  void reset() {
    const linger hard{1, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close();
  }

  // False if the peer has closed.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }

  // Appends to buffer(); false at the end of the stream, on a reset, or after `limit`.
  bool receive(std::chrono::milliseconds limit = std::chrono::seconds(20)) {
    pollfd wait{fd_, POLLIN, 0};
    if (::poll(&wait, 1, static_cast<int>(limit.count())) <= 0) {
      timed_out_ = true;
      return false;
    }
    char bytes[65536];
    const ssize_t n = ::recv(fd_, bytes, sizeof bytes, 0);
    if (n <= 0) {
      closed_ = true;
      return false;
    }
    buffer_.append(bytes, static_cast<std::size_t>(n));
    return true;
  }
  bool timed_out() const { return timed_out_; }
  bool closed() const { return closed_; }
  const std::string& buffer() const { return buffer_; }
  // Reads until the text has been seen; false if the stream ends before.
  bool receive_until(std::string_view text) {
    while (buffer_.find(text) == std::string::npos) {
      if (!receive()) return false;
    }
    return true;
  }

  // The next response on this connection. head_only: of a HEAD request.
  HttpResponse response(bool head_only = false) {
    HttpResponse r;
    std::size_t head = 0;
    for (;;) {
      while ((head = buffer_.find("\r\n\r\n")) == std::string::npos) {
        if (!receive()) {
          r.raw = buffer_;
          return r;
        }
      }
      if (!buffer_.starts_with("HTTP/1.1 100")) break;
      buffer_.erase(0, head + 4);
    }
    parse_head(buffer_.substr(0, head), r);
    buffer_.erase(0, head + 4);
    if (head_only || r.status == 204 || r.status == 304) {
      r.complete = true;
    } else if (r.headers.contains("content-length")) {
      const std::size_t length = std::stoul(r.headers["content-length"]);
      while (buffer_.size() < length && receive()) {
      }
      r.complete = buffer_.size() >= length;
      r.body = buffer_.substr(0, length);
      buffer_.erase(0, length);
    } else if (r.headers.contains("transfer-encoding")) {
      r.complete = read_chunks(r.body);
    } else {
      while (receive()) {
      }
      r.body = std::exchange(buffer_, {});
      r.complete = closed_;
    }
    return r;
  }

  HttpResponse request(std::string_view method, std::string_view path, std::string_view body = {}, std::string_view headers = {}) {
    std::string text = std::string(method) + " " + std::string(path) + " HTTP/1.1\r\nHost: localhost\r\n" + std::string(headers);
    if (!body.empty()) {
      text += "Content-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n";
    } else if (method == "POST") {
      text += "Content-Length: 0\r\n";
    }
    text += "\r\n" + std::string(body);
    send(text);
    return response(method == "HEAD");
  }

 private:
  static void parse_head(const std::string& head, HttpResponse& r) {
    r.raw = head;
    if (head.size() > 12) r.status = std::atoi(head.c_str() + 9);
    std::size_t at = head.find("\r\n");
    while (at != std::string::npos) {
      const std::size_t begin = at + 2;
      at = head.find("\r\n", begin);
      std::string line = head.substr(begin, at == std::string::npos ? std::string::npos : at - begin);
      const std::size_t colon = line.find(": ");
      if (colon == std::string::npos) continue;
      std::string name = line.substr(0, colon);
      for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      r.headers[name] = line.substr(colon + 2);
    }
  }

  bool read_chunks(std::string& body) {
    for (;;) {
      std::size_t eol = 0;
      while ((eol = buffer_.find("\r\n")) == std::string::npos) {
        if (!receive()) return false;
      }
      const std::size_t size = std::stoul(buffer_.substr(0, eol), nullptr, 16);
      while (buffer_.size() < eol + 2 + size + 2) {
        if (!receive()) return false;
      }
      body += buffer_.substr(eol + 2, size);
      buffer_.erase(0, eol + 2 + size + 2);
      if (size == 0) return true;
    }
  }

  int fd_ = -1;
  bool connected_ = false;
  bool timed_out_ = false;
  bool closed_ = false;
  std::string buffer_;
};

}  // namespace gritstone
