#include "apps/server/client/event_stream.h"

#include <utility>

#include "base/error.h"

namespace gritstone {

void EventStreamParser::feed(std::string_view bytes, std::chrono::steady_clock::time_point came) {
  while (!bytes.empty()) {
    if (std::exchange(after_cr_, false) && bytes.front() == '\n') {
      bytes.remove_prefix(1);
      continue;
    }
    const std::size_t end = bytes.find_first_of("\r\n");
    line_.append(bytes.substr(0, end));
    if (line_.size() + data_.size() > kMaxEventBytes) {
      throw Error(ErrorCode::kUnavailable, "an event of more than " + std::to_string(kMaxEventBytes >> 20) + " MiB came");
    }
    if (end == std::string_view::npos) return;
    after_cr_ = bytes[end] == '\r';
    bytes.remove_prefix(end + 1);
    line(std::exchange(line_, {}), came);
  }
}

void EventStreamParser::line(std::string_view text, std::chrono::steady_clock::time_point came) {
  if (std::exchange(first_line_, false) && text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  if (text.empty()) {
    if (any_data_) on_event_({name_.empty() ? std::string("message") : name_, data_, came});
    name_.clear();
    data_.clear();
    any_data_ = false;
    return;
  }
  const std::size_t colon = text.find(':');
  const std::string_view field = text.substr(0, colon);
  std::string_view value = colon == std::string_view::npos ? std::string_view() : text.substr(colon + 1);
  if (value.starts_with(' ')) value.remove_prefix(1);
  if (field == "event") {
    name_ = value;
  } else if (field == "data") {
    if (any_data_) data_ += '\n';
    data_ += value;
    any_data_ = true;
  }
}

}  // namespace gritstone
