// How a handler answers: one document, or a stream of server-sent events.
#pragma once

#include <string>
#include <string_view>

namespace gritstone {

// How errors look in a stream: OpenAI's ("data: {"error":...}"), or events with names ("event: error", then "event: done").
enum class EventStyle { kOpenAi, kNamed };

// Thread-safe. Calls return as soon as the bytes are queued; the connection writes them. Either send() once, or start_events() and any
// number of events; the stream ends when the handler returns.
class ReplyWriter {
 public:
  virtual ~ReplyWriter() = default;

  // Before send() and start_events().
  virtual void set_header(std::string_view name, std::string_view value) = 0;
  virtual void send(int status, std::string_view content_type, std::string body) = 0;
  void json(int status, std::string body) { send(status, "application/json", std::move(body)); }
  void json(std::string body) { json(200, std::move(body)); }

  // 200 text/event-stream; comment pings are sent while it is silent.
  virtual void start_events(EventStyle style) = 0;
  // name empty: no "event:" line. Line feeds in `data` are split as the format wants. Throws Error(kCancelled) if the request was stopped:
  // the client is gone, or has left more than the output limit unread.
  virtual void event(std::string_view name, std::string_view data) = 0;
  void event(std::string_view data) { event({}, data); }

  // For the log and the metrics; tokens of the model. May be called once, before or after the answer.
  virtual void count_tokens(std::size_t prompt, std::size_t cached, std::size_t completion) = 0;
};

}  // namespace gritstone
