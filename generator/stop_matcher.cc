#include "generator/stop_matcher.h"

#include <algorithm>

#include "base/utf8.h"

namespace gritstone {

StopMatcher::StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {
  std::erase_if(stops_, [](const std::string& s) { return s.empty(); });
}

std::string StopMatcher::feed(std::string_view bytes) {
  if (stopped_) return {};
  held_ += bytes;
  std::size_t match = std::string::npos;
  for (const std::string& stop : stops_) match = std::min(match, held_.find(stop));
  std::size_t certain;
  if (match != std::string::npos) {
    stopped_ = true;
    certain = match;
  } else {
    certain = held_.size() - longest_partial_stop();
    certain = complete_utf8_prefix(std::string_view(held_).substr(0, certain));
  }
  // Bytes that can never become a code point are replaced here, so that what is shown is valid UTF-8 at every moment.
  std::string text = sanitize_utf8(std::string_view(held_).substr(0, certain));
  held_.erase(0, certain);
  if (stopped_) held_.clear();
  return text;
}

std::string StopMatcher::finish() {
  std::string text = stopped_ ? std::string() : sanitize_utf8(held_);
  held_.clear();
  return text;
}

std::size_t StopMatcher::longest_partial_stop() const {
  std::size_t longest = 0;
  for (const std::string& stop : stops_) {
    for (std::size_t n = std::min(stop.size() - 1, held_.size()); n > longest; --n) {
      if (std::string_view(held_).substr(held_.size() - n) == std::string_view(stop).substr(0, n)) {
        longest = n;
        break;
      }
    }
  }
  return longest;
}

}  // namespace gritstone
