// The head of a request: parsed by Beast, then held against stricter rules than its parser has.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gritstone {

struct RequestHead {
  std::string method;
  std::string target;  // as sent
  std::string path;    // of the target, not decoded
  std::string query;   // behind '?', not decoded
  int version = 11;
  std::vector<std::pair<std::string, std::string>> fields;  // names in lower case
  std::optional<std::uint64_t> content_length;
  bool keep_alive = true;
  bool expects_continue = false;

  std::string field(std::string_view lower_case_name) const;
};

// Why a head was refused; the connection is closed after the answer, because what follows cannot be trusted to be a request.
struct HeadError {
  int status = 400;
  std::string message;
};

struct HeadResult {
  std::optional<RequestHead> head;
  HeadError error;  // if there is no head
};

// Bytes of the head at the start of `input`, up to and including the empty line; absent if more must be read. Sets `error` where no
// further byte could make it valid: a bare line feed, bytes that are no method, more than max_bytes.
std::optional<std::size_t> find_head_end(std::string_view input, std::size_t max_bytes, std::optional<HeadError>& error);

// bytes: one complete head. Refused: what Beast refuses; Transfer-Encoding (411); folded lines; repeated Host, Content-Length,
// Content-Type, Authorization, Origin or Expect; a Content-Length that is not plain digits; targets that are not a path (or * for OPTIONS);
// more than max_fields fields (431). Host itself is checked by SecurityPolicy.
HeadResult parse_head(std::string_view bytes, std::size_t max_fields);

// "a=1&b=x%20y"; absent if an escape is malformed.
std::optional<std::vector<std::pair<std::string, std::string>>> parse_query(std::string_view query);

}  // namespace gritstone
