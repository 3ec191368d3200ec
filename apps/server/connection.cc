#include "apps/server/connection.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace gritstone {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

// Beyond this, what a client sends while it waits stays in the kernel.
constexpr std::size_t kReadAhead = 32768;
constexpr std::chrono::milliseconds kLingerTime{2000};
constexpr std::size_t kLingerBytes = std::size_t{4} << 20;
// A handler notices a stop within one step of the engine; a connection waits no longer than this for its last words.
constexpr std::chrono::seconds kStopGrace{30};

}  // namespace

Connection::Connection(ServerCore& core, std::unique_ptr<Transport> transport, std::string remote)
    : core_(core), transport_(std::move(transport)), remote_(std::move(remote)), changed_(core.io), watchdog_(core.io) {
  ++core_.by_address[remote_];
  core_.context.metrics().connections = static_cast<std::int64_t>(core_.connections.size() + 1);
}

Connection::~Connection() {
  core_.connections.erase(this);
  const auto count = core_.by_address.find(remote_);
  if (--count->second == 0) core_.by_address.erase(count);
  core_.context.metrics().connections = static_cast<std::int64_t>(core_.connections.size());
}

asio::awaitable<void> Connection::run() {
  const std::shared_ptr<Connection> self = shared_from_this();
  error_code ec;
  arm(core_.limits.head_time);
  co_await transport_->handshake(ec);
  disarm();
  Next next = ec ? Next::kClose : Next::kKeepAlive;
  while (next == Next::kKeepAlive && !core_.draining) next = co_await serve_one();
  if (next != Next::kClose) co_await linger();
  disarm();
  transport_->close();
}

asio::awaitable<Connection::Next> Connection::serve_one() {
  std::optional<HeadError> error;
  std::string bytes;
  const bool complete = co_await read_head(error, bytes);
  if (!complete && !error) co_return Next::kClose;
  HeadResult parsed;
  if (complete) {
    parsed = parse_head(bytes, core_.limits.head_fields);
    if (!parsed.head) error = parsed.error;
  }
  if (error) {
    RequestHead nothing;
    nothing.method = "-";
    nothing.keep_alive = false;
    const std::shared_ptr<Exchange> exchange = make_exchange(nothing);
    exchange->fail(ApiError(error->status, "invalid_request_error", error->message, {}, "malformed_request"));
    read_failed_ = false;  // if it was the time limit, what follows may still be thrown away
    const bool sent = co_await pump(exchange);
    co_return sent ? Next::kLinger : Next::kClose;
  }
  co_return co_await answer(std::move(*parsed.head));
}

asio::awaitable<bool> Connection::read_head(std::optional<HeadError>& error, std::string& bytes) {
  if (in_.empty()) {
    idle_ = true;
    arm(served_ == 0 ? core_.limits.head_time : core_.limits.idle_time);
    const bool more = co_await fill();
    disarm();
    idle_ = false;
    if (!more) co_return false;
  }
  arm(core_.limits.head_time);
  for (;;) {
    // An empty line before a request is left over from a sloppy client's last one (RFC 9112, 2.2).
    if (in_.starts_with("\r\n")) in_.erase(0, 2);
    const bool half_break = in_ == "\r" || in_.empty();
    const std::optional<std::size_t> end = half_break ? std::nullopt : find_head_end(in_, core_.limits.head_bytes, error);
    if (end) {
      bytes = in_.substr(0, *end);
      in_.erase(0, *end);
      disarm();
      co_return true;
    }
    if (error) break;
    const bool more = co_await fill();
    if (!more) {
      if (timed_out_) error = HeadError{408, "the request's head did not arrive in time"};
      break;
    }
  }
  disarm();
  co_return false;
}

asio::awaitable<Connection::Next> Connection::answer(RequestHead head) {
  const std::shared_ptr<Exchange> exchange = make_exchange(head);
  const std::uint64_t length = head.content_length.value_or(0);
  std::optional<ApiError> refusal = check(head, *exchange);
  const bool refused = refusal.has_value();
  if (refused) {
    if (length > 0) exchange->set_close();
    exchange->fail(*refusal);
  } else if (answer_options(head, *exchange)) {
    if (length > 0) exchange->set_close();
  } else {
    core_.body_bytes += length;
    const bool read = co_await read_body(length, head.expects_continue, *exchange);
    if (!read) {
      core_.body_bytes -= length;
      if (!timed_out_) {
        exchange->stop(StopReason::kDisconnect);
        co_return Next::kClose;
      }
      exchange->set_close();
      exchange->fail(ApiError(408, "invalid_request_error", "the request's body did not arrive in time", {}, "timeout"));
      read_failed_ = false;
      const bool sent = co_await pump(exchange);
      co_return sent ? Next::kLinger : Next::kClose;
    }
    // A slow upload is the client's time: waiting in line and the deadline begin now.
    exchange->request.received = Clock::now();
    exchange->request.deadline = exchange->request.received + core_.limits.deadline;
    core_.dispatch(exchange);
    const bool usable = co_await pump(exchange);
    core_.body_bytes -= length;
    co_return usable && !exchange->closes() ? Next::kKeepAlive : usable ? Next::kLinger : Next::kClose;
  }
  const bool usable = co_await pump(exchange);
  co_return usable && !exchange->closes() ? Next::kKeepAlive : usable ? Next::kLinger : Next::kClose;
}

asio::awaitable<bool> Connection::read_body(std::size_t length, bool expects_continue, Exchange& exchange) {
  if (length == 0) co_return true;
  if (expects_continue && in_.size() < length) {
    const bool sent = co_await write("HTTP/1.1 100 Continue\r\n\r\n", nullptr);
    if (!sent) co_return false;
  }
  arm(core_.limits.body_time + std::chrono::milliseconds(1000 * (length >> 18)));
  in_.reserve(length);
  while (in_.size() < length) {
    const bool more = co_await fill();
    if (!more) co_return false;
  }
  disarm();
  if (in_.size() == length) {
    exchange.request.body = std::exchange(in_, {});
  } else {
    exchange.request.body = in_.substr(0, length);
    in_.erase(0, length);
  }
  co_return true;
}

asio::awaitable<bool> Connection::pump(std::shared_ptr<Exchange> exchange) {
  current_ = exchange;
  const Clock::time_point queue_end = exchange->request.received + core_.limits.queue_wait;
  Clock::time_point last_write = Clock::now();
  bool usable = false;
  for (;;) {
    const std::string out = exchange->take();
    if (!out.empty()) {
      const bool written = co_await write(out, exchange.get());
      if (!written) {
        exchange->stop(timed_out_ ? StopReason::kSlowReader : StopReason::kDisconnect);
        core_.cancel(exchange->number);
        break;
      }
      last_write = Clock::now();
      continue;
    }
    if (exchange->finished()) {
      exchange->mark_complete();
      usable = true;
      break;
    }
    if (read_failed_) {
      exchange->stop(StopReason::kDisconnect);
      core_.cancel(exchange->number);
      break;
    }
    const Clock::time_point now = Clock::now();
    if (now >= exchange->request.deadline && exchange->stop_reason() == StopReason::kNone) exchange->stop(StopReason::kDeadline);
    // Stopped while it waited in line: no worker will ever answer it.
    if (exchange->stop_reason() != StopReason::kNone && core_.cancel(exchange->number)) {
      exchange->fail(Error(ErrorCode::kCancelled, "stopped while it waited"));
      continue;
    }
    if (now >= exchange->request.deadline + kStopGrace) break;
    if (now >= queue_end && !exchange->started() && core_.cancel(exchange->number)) {
      ++core_.context.metrics().refused_queue_wait;
      exchange->fail(ApiError::busy("no slot became free in time; try again later", core_.model_queue.retry_after_seconds()));
      continue;
    }
    if (now >= last_write + core_.limits.ping) {
      exchange->ping();
      last_write = now;
      continue;
    }
    start_read();
    Clock::time_point until = std::min(exchange->request.deadline, last_write + core_.limits.ping);
    if (now >= exchange->request.deadline) until = now + std::chrono::seconds(1);
    if (!exchange->started() && queue_end > now) until = std::min(until, queue_end);
    co_await wait(until);
  }
  current_.reset();
  co_return usable;
}

asio::awaitable<bool> Connection::write(std::string_view bytes, Exchange* exchange) {
  while (!bytes.empty()) {
    error_code ec;
    arm(core_.limits.write_stall);
    const std::size_t written = co_await transport_->write_some(asio::buffer(bytes.data(), bytes.size()), ec);
    disarm();
    if (ec) co_return false;
    if (exchange != nullptr) exchange->count_sent(written);
    bytes.remove_prefix(written);
  }
  co_return true;
}

asio::awaitable<void> Connection::linger() {
  // Closing with unread input makes the kernel reset the connection, and the answer may be lost with it.
  co_await transport_->shutdown_send();
  arm(kLingerTime);
  std::size_t dropped = 0;
  for (bool more = !read_failed_; more && dropped < kLingerBytes && !core_.draining;) {
    in_.clear();
    more = co_await fill();
    dropped += in_.size();
  }
  disarm();
}

asio::awaitable<bool> Connection::fill() {
  if (read_failed_) co_return false;
  start_read();
  while (reading_) co_await wait(Clock::time_point::max());
  co_return !read_failed_;
}

void Connection::start_read() {
  if (reading_ || read_failed_) return;
  if (current_ != nullptr && in_.size() >= kReadAhead) return;
  reading_ = true;
  transport_->read_some(asio::buffer(chunk_), [self = shared_from_this()](const error_code& ec, std::size_t n) {
    self->reading_ = false;
    if (ec) {
      self->read_failed_ = true;
    } else {
      self->in_.append(self->chunk_.data(), n);
    }
    self->wake();
  });
}

asio::awaitable<void> Connection::wait(Clock::time_point until) {
  error_code ignored;
  changed_.expires_at(until);
  co_await changed_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
}

void Connection::arm(std::chrono::milliseconds limit) {
  const std::uint64_t mine = ++armed_;
  timed_out_ = false;
  watchdog_.expires_after(limit);
  watchdog_.async_wait([weak = weak_from_this(), mine](const error_code& ec) {
    const std::shared_ptr<Connection> self = weak.lock();
    if (ec || !self || self->armed_ != mine) return;
    self->timed_out_ = true;
    self->transport_->cancel();
  });
}

void Connection::disarm() {
  ++armed_;
  watchdog_.cancel();
}

void Connection::notice_change() {
  // The connection is stuck in a write that nobody reads.
  if (current_ != nullptr && current_->stop_reason() == StopReason::kSlowReader) transport_->close();
  wake();
}

void Connection::stop_if_idle() {
  if (idle_) transport_->close();
}

void Connection::stop_request(StopReason reason) {
  if (current_ == nullptr) return;
  current_->stop(reason);
  wake();
}

}  // namespace gritstone
