#include "apps/server/exchange.h"

#include <cstdio>
#include <ctime>

#include "base/error.h"

namespace gritstone {
namespace {

using Clock = std::chrono::steady_clock;

// IMF-fixdate, whatever the locale.
std::string http_date() {
  static constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const std::time_t now = std::time(nullptr);
  std::tm t{};
  ::gmtime_r(&now, &t);
  char text[64];
  std::snprintf(text, sizeof text, "%s, %02d %s %04d %02d:%02d:%02d GMT", kDays[t.tm_wday], t.tm_mday, kMonths[t.tm_mon], t.tm_year + 1900,
                t.tm_hour, t.tm_min, t.tm_sec);
  return text;
}

}  // namespace

std::string_view stop_reason_name(StopReason reason) noexcept {
  switch (reason) {
    case StopReason::kNone:
      return "complete";
    case StopReason::kDisconnect:
      return "disconnect";
    case StopReason::kSlowReader:
      return "slow_reader";
    case StopReason::kDeadline:
      return "deadline";
    case StopReason::kShutdown:
      return "shutdown";
  }
  return "";
}

std::string_view status_text(int status) noexcept {
  switch (status) {
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 204:
      return "No Content";
    case 304:
      return "Not Modified";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 411:
      return "Length Required";
    case 413:
      return "Content Too Large";
    case 414:
      return "URI Too Long";
    case 415:
      return "Unsupported Media Type";
    case 417:
      return "Expectation Failed";
    case 421:
      return "Misdirected Request";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    case 507:
      return "Insufficient Storage";
    default:
      return "Unknown";
  }
}

Exchange::Exchange(const ServerLimits& limits, Wire wire, std::function<void()> changed, std::function<void(AccessRecord)> on_end)
    : limits_(limits), changed_(std::move(changed)), on_end_(std::move(on_end)), begin_(Clock::now()), wire_(std::move(wire)) {
  request.received = begin_;
  request.deadline = begin_ + limits.deadline;
  request.cancel = stop_.get_token();
}

Exchange::~Exchange() {
  AccessRecord record;
  record.id = request.id;
  record.remote = request.remote;
  record.method = request.method;
  record.path = request.path;
  record.route = route != nullptr ? route->path : "none";
  record.trace = request.trace;
  const StopReason reason = reason_;
  const bool left = (reason == StopReason::kDisconnect || reason == StopReason::kSlowReader) || !complete_;
  record.status = left ? 499 : status_;
  record.milliseconds = std::chrono::duration<double, std::milli>(Clock::now() - begin_).count();
  record.queue_ms = static_cast<double>(queue_us_) / 1e3;
  record.sent_bytes = sent_bytes_;
  record.prompt_tokens = prompt_tokens_;
  record.cached_tokens = cached_tokens_;
  record.completion_tokens = completion_tokens_;
  record.ended = stop_reason_name(left && reason == StopReason::kNone ? StopReason::kDisconnect : reason);
  record.error = log_error_;
  on_end_(std::move(record));
}

std::string Exchange::head(int status, std::string_view content_type, std::optional<std::size_t> length) {
  status_ = status;
  std::string out = (wire_.http10 ? "HTTP/1.0 " : "HTTP/1.1 ") + std::to_string(status) + " ";
  out.append(status_text(status)).append("\r\nDate: ").append(http_date()).append("\r\n");
  if (!content_type.empty()) out.append("Content-Type: ").append(content_type).append("\r\n");
  if (length) {
    out.append("Content-Length: ").append(std::to_string(*length)).append("\r\n");
  } else if (status == 204 || status == 304) {
    // No body follows, and no framing may promise one (RFC 9112, 6.1).
  } else if (wire_.http10) {
    wire_.keep_alive = false;
  } else {
    out.append("Transfer-Encoding: chunked\r\n");
  }
  if (!wire_.keep_alive) out.append("Connection: close\r\n");
  if (headers_.find("Cache-Control:") == std::string::npos) out.append("Cache-Control: no-store\r\n");
  out.append("X-Content-Type-Options: nosniff\r\n");
  if (!request.id.empty()) out.append("X-Request-Id: ").append(request.id).append("\r\n");
  if (!wire_.cors_origin.empty()) {
    out.append("Access-Control-Allow-Origin: ").append(wire_.cors_origin).append("\r\nVary: Origin\r\n");
  }
  out.append(headers_).append("\r\n");
  return out;
}

void Exchange::set_header(std::string_view name, std::string_view value) {
  // A line break would be a second header of the caller's making.
  GS_CHECK(value.find_first_of("\r\n") == std::string_view::npos && name.find_first_of("\r\n:") == std::string_view::npos);
  const std::lock_guard lock(mutex_);
  headers_.append(name).append(": ").append(value).append("\r\n");
}

void Exchange::send_locked(int status, std::string_view content_type, std::string body) {
  pending_ += head(status, content_type, status == 204 || status == 304 ? std::nullopt : std::optional<std::size_t>(body.size()));
  if (!wire_.head_only) pending_ += body;
  finished_ = true;
}

void Exchange::send(int status, std::string_view content_type, std::string body) {
  {
    const std::lock_guard lock(mutex_);
    GS_CHECK(status_ == 0);
    send_locked(status, content_type, std::move(body));
  }
  changed_();
}

void Exchange::start_events(EventStyle style) {
  {
    const std::lock_guard lock(mutex_);
    GS_CHECK(status_ == 0);
    headers_ += "X-Accel-Buffering: no\r\n";  // nginx would hold events back
    streaming_ = true;
    style_ = style;
    pending_ += head(200, "text/event-stream; charset=utf-8", std::nullopt);
  }
  changed_();
}

void Exchange::queue_chunk(std::string_view text) {
  if (wire_.head_only) return;
  if (wire_.http10) {
    pending_.append(text);
    return;
  }
  char size[24];
  std::snprintf(size, sizeof size, "%zx\r\n", text.size());
  pending_.append(size).append(text).append("\r\n");
}

void Exchange::queue_event(std::string_view name, std::string_view data) {
  std::string text;
  if (!name.empty()) text.append("event: ").append(name).append("\n");
  while (true) {
    const std::size_t end = data.find('\n');
    text.append("data: ").append(data.substr(0, end)).append("\n");
    if (end == std::string_view::npos) break;
    data.remove_prefix(end + 1);
  }
  text += "\n";
  queue_chunk(text);
}

void Exchange::event(std::string_view name, std::string_view data) {
  bool over = false;
  {
    const std::lock_guard lock(mutex_);
    GS_CHECK(streaming_ && !finished_);
    over = pending_.size() > limits_.output_bytes;
    if (!over && reason_ == StopReason::kNone) queue_event(name, data);
  }
  if (over) stop(StopReason::kSlowReader);
  if (reason_ != StopReason::kNone) throw Error(ErrorCode::kCancelled, "the request was stopped");
  changed_();
}

void Exchange::count_tokens(std::size_t prompt, std::size_t cached, std::size_t completion) {
  const std::lock_guard lock(mutex_);
  prompt_tokens_ = prompt;
  cached_tokens_ = cached;
  completion_tokens_ = completion;
}

void Exchange::end_locked() {
  if (finished_) return;
  if (streaming_ && !wire_.http10 && !wire_.head_only) pending_ += "0\r\n\r\n";
  finished_ = true;
}

void Exchange::finish() {
  bool silent = false;
  {
    const std::lock_guard lock(mutex_);
    silent = status_ == 0;
    if (!silent) end_locked();
  }
  if (silent) {
    fail(std::runtime_error("the handler of " + (route != nullptr ? route->path : std::string("?")) + " sent nothing"));
    return;
  }
  changed_();
}

// What stopped a request explains its failure better than the "cancelled" that follows from it.
ApiError Exchange::reason_error(const std::exception& error) const {
  const auto* own = dynamic_cast<const Error*>(&error);
  const bool cancelled = own != nullptr && own->code() == ErrorCode::kCancelled;
  if (cancelled && reason_ == StopReason::kDeadline) return to_api_error(Error(ErrorCode::kDeadline, ""));
  if (cancelled && reason_ == StopReason::kShutdown) return ApiError::unavailable("the server is stopping", 5);
  // Nothing stopped the request, so the engine was shut down under it.
  if (cancelled && reason_ == StopReason::kNone) return ApiError::unavailable("the server is stopping", 5);
  return to_api_error(error);
}

void Exchange::fail(const std::exception& error) {
  const ApiError api = reason_error(error);
  {
    const std::lock_guard lock(mutex_);
    if (finished_) return;
    if (api.status() >= 500 && api.status() != 503 && api.status() != 504) log_error_ = error.what();
    if (streaming_) {
      if (style_ == EventStyle::kNamed) {
        queue_event("error", api.json());
        queue_event("done", "[DONE]");
      } else {
        queue_event({}, api.json());
      }
      end_locked();
    } else {
      if (api.retry_after_seconds() > 0) headers_ += "Retry-After: " + std::to_string(api.retry_after_seconds()) + "\r\n";
      if (api.status() == 401) headers_ += "WWW-Authenticate: Bearer\r\n";
      send_locked(api.status(), "application/json", api.json());
    }
  }
  changed_();
}

std::string Exchange::take() {
  const std::lock_guard lock(mutex_);
  return std::exchange(pending_, {});
}

bool Exchange::finished() const {
  const std::lock_guard lock(mutex_);
  return finished_ && pending_.empty();
}

bool Exchange::closes() const {
  const std::lock_guard lock(mutex_);
  return !wire_.keep_alive;
}

void Exchange::ping() {
  const std::lock_guard lock(mutex_);
  if (streaming_ && !finished_) queue_chunk(": ping\n\n");
}

void Exchange::stop(StopReason reason) {
  StopReason none = StopReason::kNone;
  if (!reason_.compare_exchange_strong(none, reason)) return;
  stop_.request_stop();
}

void Exchange::set_close() {
  const std::lock_guard lock(mutex_);
  wire_.keep_alive = false;
}

void Exchange::mark_started() noexcept {
  queue_us_ = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begin_).count();
  started_ = true;
}

}  // namespace gritstone
