// The address of a service: http://host:port/path, or https.
#pragma once

#include <string>
#include <string_view>

namespace gritstone {

struct HttpUrl {
  bool tls = false;
  std::string host;  // a name, an IPv4 address, or an IPv6 address without brackets
  std::string port;  // "80" and "443" where the text has none
  std::string path;  // of the base, without a slash at its end: "" or "/v1"

  // What the Host header says: the port only where it is not the scheme's own.
  std::string authority() const;
  // The whole address of `target` ("/embeddings") below the base.
  std::string text(std::string_view target = {}) const;
};

// Throws Error(kInvalidArgument) naming the text: another scheme, no host, a port outside 1..65535, a user or a query in it, blanks or
// control characters.
HttpUrl parse_url(std::string_view text);

}  // namespace gritstone
