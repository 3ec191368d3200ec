// Server-sent events as they come in pieces (WHATWG HTML, section 9.2).
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace gritstone {

struct StreamEvent {
  std::string name;                            // "message" where the stream gives none
  std::string data;                            // lines joined by line feeds
  std::chrono::steady_clock::time_point came;  // when the bytes that completed it were read
};

// Takes the stream in pieces cut anywhere. Comments, ids and retry times are passed over; an event that the end of the stream cuts off is
// dropped, as the specification says.
class EventStreamParser {
 public:
  using OnEvent = std::function<void(StreamEvent&&)>;
  static constexpr std::size_t kMaxEventBytes = std::size_t{16} << 20;

  explicit EventStreamParser(OnEvent on_event) : on_event_(std::move(on_event)) {}
  // Throws Error(kUnavailable) for a line or an event of more than kMaxEventBytes, and what on_event throws.
  void feed(std::string_view bytes, std::chrono::steady_clock::time_point came);

 private:
  void line(std::string_view text, std::chrono::steady_clock::time_point came);

  OnEvent on_event_;
  std::string line_;  // not complete yet
  bool first_line_ = true;
  bool after_cr_ = false;  // a line feed that follows belongs to the carriage return before
  std::string name_, data_;
  bool any_data_ = false;
};

}  // namespace gritstone
