// Turns a stream of token bytes into text that may be shown at once: whole code points, and nothing that a stop string might still take
// back.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace gritstone {

// One per generation; not thread-safe.
class StopMatcher {
 public:
  // Empty strings are ignored.
  explicit StopMatcher(std::vector<std::string> stops);

  // Appends the bytes of one token and returns the text that is now certain. After a match it returns nothing more.
  std::string feed(std::string_view bytes);
  // A stop string was completed; the text returned so far ends right before it (the earliest one if several match).
  bool stopped() const noexcept { return stopped_; }
  // What was held back, when generation ended for another reason. Bytes of an unfinished code point become U+FFFD.
  std::string finish();

 private:
  std::size_t longest_partial_stop() const;

  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace gritstone
