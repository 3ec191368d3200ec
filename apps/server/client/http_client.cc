#include "apps/server/client/http_client.h"

#include <sys/stat.h>

#include <algorithm>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <cstdlib>
#include <utility>

#include "apps/server/client/client_connection.h"
#include "apps/terminal.h"
#include "base/checked_file.h"
#include "base/error.h"
#include "base/json.h"

namespace gritstone {
namespace {

namespace http = boost::beast::http;

constexpr std::size_t kMaxHead = 64 << 10;
// Chunk sizes and events' framing come on top of the body: a stream of single letters is mostly framing.
constexpr std::size_t kFramingFactor = 16;
constexpr std::size_t kMaxIdle = 64;

bool is_key(std::string_view key) {
  return !key.empty() && key.size() <= 4096 && std::ranges::all_of(key, [](char c) { return c > ' ' && c < 127; });
}

std::optional<double> seconds_of(std::string_view text) {
  if (text.empty() || text.size() > 9 || !std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; })) return std::nullopt;
  return std::stod(std::string(text));
}

// OpenAI's shape first, then what others do.
std::string error_message(const std::string& body) {
  try {
    const rapidjson::Document document = parse_json(body, "answer");
    if (!document.IsObject()) return {};
    for (const char* key : {"error", "message", "detail"}) {
      const auto member = document.FindMember(key);
      if (member == document.MemberEnd()) continue;
      if (member->value.IsString()) return member->value.GetString();
      if (member->value.IsObject()) return json_string(member->value, "message").value_or("");
    }
  } catch (const Error&) {
    // A page, or nothing.
  }
  return {};
}

}  // namespace

struct ServiceClient::Impl {
  explicit Impl(const HttpUrl& base) : tls(base.tls ? make_client_tls() : nullptr) {}

  std::unique_ptr<ClientConnection> idle() {
    const std::lock_guard lock(mutex);
    if (connections.empty()) return nullptr;
    auto connection = std::move(connections.back());
    connections.pop_back();
    return connection;
  }
  void keep(std::unique_ptr<ClientConnection> connection) {
    const std::lock_guard lock(mutex);
    if (connections.size() < kMaxIdle) connections.push_back(std::move(connection));
  }

  const std::unique_ptr<boost::asio::ssl::context> tls;
  std::mutex mutex;
  std::vector<std::unique_ptr<ClientConnection>> connections;
};

namespace {

// One request and its answer on one connection.
class HttpExchange {
 public:
  HttpExchange(ClientConnection& connection, const HttpUrl& base, const ServiceClientOptions& options, const HttpCall& call)
      : connection_(connection), url_(base.text(call.target)), options_(options), call_(call), events_([&call](StreamEvent&& event) {
          call.on_event(std::move(event));
        }) {
    reset();
  }

  // Absent: the peer had closed the connection before it read the request.
  std::optional<HttpReply> run(const std::string& request) {
    // A server may refuse before it has read everything: what it said is read even if it took no more.
    connection_.write(request, options_.silence_limit, call_.stop);
    std::vector<char> piece(64 << 10);
    while (!parser_->is_done()) {
      const std::size_t n = connection_.read_some(piece, options_.silence_limit, call_.stop);
      const auto came = std::chrono::steady_clock::now();
      if (n == 0) {
        if (received_ == 0) return std::nullopt;
        finish_at_end();
        break;
      }
      received_ += n;
      if (received_ > kMaxHead + kFramingFactor * options_.max_body) fail(too_large());
      raw_.append(piece.data(), n);
      parse();
      hand_out(came);
    }
    HttpReply reply;
    const auto& message = parser_->get();
    reply.status = message.result_int();
    const auto type = message[http::field::content_type];
    reply.content_type.assign(type.data(), type.size());
    const auto retry = message[http::field::retry_after];
    reply.retry_after = seconds_of({retry.data(), retry.size()});
    reply.body = std::move(parser_->get().body());
    keep_ = parser_->keep_alive() && raw_.empty();
    return reply;
  }

  bool keeps_connection() const noexcept { return keep_; }

 private:
  using Parser = http::response_parser<http::string_body>;

  void reset() {
    parser_.emplace();
    parser_->header_limit(kMaxHead);
    parser_->body_limit(options_.max_body);
    parser_->eager(true);
  }

  void parse() {
    while (!raw_.empty()) {
      if (parser_->is_done()) {
        // 100 and 103 announce the answer.
        if (parser_->get().result_int() / 100 != 1) return;
        reset();
      }
      boost::beast::error_code ec;
      const std::size_t used = parser_->put(boost::asio::const_buffer(raw_.data(), raw_.size()), ec);
      raw_.erase(0, used);
      if (ec == http::error::need_more) return;
      if (ec == http::error::body_limit) fail(too_large());
      if (ec) fail("what came is no HTTP (" + ec.message() + ")");
      if (used == 0) return;
    }
    if (parser_->is_done() && parser_->get().result_int() / 100 == 1) reset();
  }

  // Events leave as they come; the parser goes on appending to what is left.
  void hand_out(std::chrono::steady_clock::time_point came) {
    if (!call_.on_event || !parser_->is_header_done() || parser_->get().result_int() != 200) return;
    const auto type = parser_->get()[http::field::content_type];
    if (!std::string_view(type.data(), type.size()).starts_with("text/event-stream")) return;
    const std::string piece = std::exchange(parser_->get().body(), {});
    events_.feed(piece, came);
  }

  void finish_at_end() {
    boost::beast::error_code ec;
    parser_->put_eof(ec);
    if (ec || !parser_->is_done()) fail("the connection ended half-way through the answer");
  }

  std::string too_large() const { return "the answer is larger than " + human_bytes(options_.max_body); }
  [[noreturn]] void fail(const std::string& what) const { throw Error(ErrorCode::kUnavailable, url_ + ": " + what); }

  ClientConnection& connection_;
  const std::string url_;
  const ServiceClientOptions& options_;
  const HttpCall& call_;
  EventStreamParser events_;
  std::optional<Parser> parser_;
  std::string raw_;
  std::size_t received_ = 0;
  bool keep_ = false;
};

}  // namespace

ServiceClient::ServiceClient(HttpUrl base, ServiceClientOptions options)
    : base_(std::move(base)), options_(std::move(options)), impl_(std::make_unique<Impl>(base_)) {
  if (!options_.bearer.empty() && !is_key(options_.bearer)) {
    throw Error(ErrorCode::kInvalidArgument, "a key has printable characters without blanks only");
  }
}

ServiceClient::~ServiceClient() = default;

HttpReply ServiceClient::call(const HttpCall& call) {
  std::string request = std::string(call.method) + " " + base_.path + std::string(call.target) + " HTTP/1.1\r\nHost: " + base_.authority() +
                        "\r\nUser-Agent: gritstone\r\nAccept: " + (call.on_event ? "text/event-stream, application/json" : "*/*") + "\r\n";
  if (!options_.bearer.empty()) request += "Authorization: Bearer " + options_.bearer + "\r\n";
  if (call.method == "POST") request += "Content-Type: application/json\r\nContent-Length: " + std::to_string(call.body.size()) + "\r\n";
  request += "\r\n" + std::string(call.body);
  while (true) {
    std::unique_ptr<ClientConnection> connection = impl_->idle();
    const bool kept = connection != nullptr;
    if (!kept) connection = std::make_unique<ClientConnection>(base_, impl_->tls.get(), options_.connect_limit, call.stop);
    HttpExchange exchange(*connection, base_, options_, call);
    std::optional<HttpReply> reply = exchange.run(request);
    if (!reply) {
      if (kept) continue;
      throw Error(ErrorCode::kUnavailable, base_.text(call.target) + ": the connection was closed without an answer");
    }
    if (exchange.keeps_connection()) impl_->keep(std::move(connection));
    return std::move(*reply);
  }
}

std::string refusal_text(const std::string& url, const HttpReply& reply) {
  std::string text = url + ": status " + std::to_string(reply.status);
  std::string message = error_message(reply.body);
  const bool explained = !message.empty();
  if (!explained) message = reply.body.substr(0, reply.body.find_first_of("\r\n")).substr(0, 200);
  if (reply.status / 100 == 3) message = "moved elsewhere; use the new address";
  if (!message.empty()) text += ": " + printable(message);
  if (reply.status == 404 && !explained) text += " (is the path right? OpenAI's ends in /v1)";
  return text;
}

void require_ok(const std::string& url, const HttpReply& reply) {
  if (reply.ok()) return;
  const bool passing = reply.status >= 500 || reply.status == 429 || reply.status == 408;
  throw Error(passing ? ErrorCode::kUnavailable : ErrorCode::kInvalidArgument, refusal_text(url, reply));
}

std::string client_key(const std::string& file, const std::string& option, const char* variable) {
  std::string key, source = variable;
  if (!file.empty()) {
    source = option + " " + file;
    struct stat status {};
    if (::stat(file.c_str(), &status) != 0) throw Error(ErrorCode::kNotFound, source + " does not exist");
    if ((status.st_mode & (S_IRWXO | S_IWGRP)) != 0) {
      throw Error(ErrorCode::kInvalidArgument, source + ": others can read or change it; use chmod 600");
    }
    key = read_file(file, 1 << 16);
    key = key.substr(0, key.find_first_of("\r\n"));
    if (key.empty()) throw Error(ErrorCode::kInvalidArgument, source + " holds no key in its first line");
  } else if (const char* value = std::getenv(variable); value != nullptr) {
    key = value;
  }
  if (!key.empty() && !is_key(key))
    throw Error(ErrorCode::kInvalidArgument, source + ": a key has printable characters without blanks only");
  return key;
}

}  // namespace gritstone
