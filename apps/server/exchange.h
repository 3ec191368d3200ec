// One request and its answer on the way: the handler's side writes, the connection's side sends.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "apps/server/access_log.h"
#include "apps/server/api_error.h"
#include "apps/server/reply.h"
#include "apps/server/request.h"
#include "apps/server/router.h"
#include "apps/server/server_options.h"

namespace gritstone {

enum class StopReason { kNone, kDisconnect, kSlowReader, kDeadline, kShutdown };

// Thread-safe. Shared by the connection and the worker; the one that lets go last leaves the log line and the figures, because only then
// all of them are known.
class Exchange final : public ReplyWriter {
 public:
  struct Wire {
    bool http10 = false;     // no chunks: a stream ends with the connection
    bool head_only = false;  // HEAD: everything but the body
    bool keep_alive = true;
    std::string cors_origin;
  };
  // changed: called, from any thread, when there is something to send; on_end: with the record, when the exchange is over.
  Exchange(const ServerLimits& limits, Wire wire, std::function<void()> changed, std::function<void(AccessRecord)> on_end);
  ~Exchange() override;
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  Request request;
  const Route* route = nullptr;  // null: refused before one was found
  std::uint64_t number = 0;      // unique in the server; names it in the queues

  // ReplyWriter, for the handler.
  void set_header(std::string_view name, std::string_view value) override;
  void send(int status, std::string_view content_type, std::string body) override;
  void start_events(EventStyle style) override;
  void event(std::string_view name, std::string_view data) override;
  void count_tokens(std::size_t prompt, std::size_t cached, std::size_t completion) override;

  // For whoever runs the handler: exactly one of them, at the end. A handler that sent nothing has failed too.
  void finish();
  void fail(const std::exception& error);

  // For the connection.
  std::string take();     // what is to be written next; empty: nothing yet
  bool finished() const;  // nothing will come after what take() gives
  bool closes() const;    // the connection ends with this answer
  void ping();            // a comment, if this is a stream that has begun
  void stop(StopReason reason);
  StopReason stop_reason() const noexcept { return reason_; }
  void count_sent(std::size_t bytes) noexcept { sent_bytes_ += bytes; }
  void set_close();  // before the head is written: the connection ends with this answer
  void mark_complete() noexcept { complete_ = true; }

  // Set by the worker that takes it up.
  void mark_started() noexcept;
  bool started() const noexcept { return started_; }

 private:
  // All with mutex_ held.
  std::string head(int status, std::string_view content_type, std::optional<std::size_t> length);
  void queue_chunk(std::string_view text);
  void queue_event(std::string_view name, std::string_view data);
  void send_locked(int status, std::string_view content_type, std::string body);
  void end_locked();
  ApiError reason_error(const std::exception& error) const;

  const ServerLimits limits_;
  const std::function<void()> changed_;
  const std::function<void(AccessRecord)> on_end_;
  std::stop_source stop_;
  std::atomic<StopReason> reason_{StopReason::kNone};
  std::atomic<bool> started_{false};
  std::atomic<bool> complete_{false};
  std::atomic<std::uint64_t> sent_bytes_{0};
  std::chrono::steady_clock::time_point begin_;
  std::atomic<std::int64_t> queue_us_{0};

  mutable std::mutex mutex_;
  Wire wire_;
  std::string headers_;
  std::string pending_;
  int status_ = 0;  // 0: nothing sent yet
  bool streaming_ = false;
  EventStyle style_ = EventStyle::kOpenAi;
  bool finished_ = false;
  std::string log_error_;
  std::size_t prompt_tokens_ = 0, cached_tokens_ = 0, completion_tokens_ = 0;
};

std::string_view stop_reason_name(StopReason reason) noexcept;
std::string_view status_text(int status) noexcept;

}  // namespace gritstone
