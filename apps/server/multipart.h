// multipart/form-data (RFC 7578), read strictly: what is not exactly of that form is refused.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gritstone {

struct MultipartLimits {
  std::size_t parts = 32;
  std::size_t head_bytes = 4096;  // all header lines of one part
  std::size_t heads = 16;         // header lines of one part
};

struct MultipartPart {
  std::string name;                     // of the form's field; valid UTF-8
  std::optional<std::string> filename;  // as the client sent it: any bytes; never a path of ours
  std::string content_type;             // as sent, empty if absent
  std::string_view data;                // borrows the body
};

// The parts of `body` in order. content_type: the request's header, whose boundary must be 1 to 70 characters of RFC 2046. Text before the
// first boundary or after the last is refused, but for one line end. Time and memory are linear in the body.
// Throws Error(kInvalidArgument) saying what is wrong. Thread-safe.
std::vector<MultipartPart> parse_multipart(std::string_view body, std::string_view content_type, const MultipartLimits& limits = {});

}  // namespace gritstone
