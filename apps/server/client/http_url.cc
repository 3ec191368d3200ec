#include "apps/server/client/http_url.h"

#include <algorithm>

#include "base/error.h"

namespace gritstone {
namespace {

[[noreturn]] void refuse(std::string_view text, const std::string& why) {
  throw Error(ErrorCode::kInvalidArgument, "\"" + std::string(text) + "\" " + why + "; expected http://HOST:PORT/PATH or https://...");
}

bool is_port(std::string_view text) {
  if (text.empty() || text.size() > 5 || !std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; })) return false;
  const int port = std::stoi(std::string(text));
  return port >= 1 && port <= 65535;
}

}  // namespace

std::string HttpUrl::authority() const {
  const std::string name = host.find(':') != std::string::npos ? "[" + host + "]" : host;
  return port == (tls ? "443" : "80") ? name : name + ":" + port;
}

std::string HttpUrl::text(std::string_view target) const {
  return (tls ? "https://" : "http://") + authority() + path + std::string(target);
}

HttpUrl parse_url(std::string_view text) {
  HttpUrl url;
  if (std::ranges::any_of(text, [](char c) { return c <= ' ' || c >= 127; })) refuse(text, "has blanks, control or non-ASCII characters");
  std::string_view rest = text;
  if (rest.starts_with("https://")) {
    url.tls = true;
    rest.remove_prefix(8);
  } else if (rest.starts_with("http://")) {
    rest.remove_prefix(7);
  } else {
    refuse(text, "is no address of a service");
  }
  if (rest.find_first_of("?#") != std::string_view::npos) refuse(text, "has a query or fragment");
  const std::size_t slash = std::min(rest.find('/'), rest.size());
  std::string_view authority = rest.substr(0, slash);
  std::string_view path = rest.substr(slash);
  while (path.ends_with('/')) path.remove_suffix(1);
  url.path = path;
  if (authority.find('@') != std::string_view::npos)
    refuse("http...@" + std::string(authority.substr(authority.rfind('@') + 1)), "names a user: give the key by file or environment");
  std::string_view port;
  if (authority.starts_with('[')) {
    const std::size_t end = authority.find(']');
    if (end == std::string_view::npos) refuse(text, "has no ] after its address");
    url.host = authority.substr(1, end - 1);
    authority.remove_prefix(end + 1);
    if (!authority.empty() && authority.front() != ':') refuse(text, "has something behind its address");
    port = authority.empty() ? authority : authority.substr(1);
    if (!authority.empty() && port.empty()) refuse(text, "has an empty port");
  } else {
    const std::size_t colon = authority.find(':');
    url.host = authority.substr(0, colon);
    if (colon != std::string_view::npos) {
      port = authority.substr(colon + 1);
      if (port.empty()) refuse(text, "has an empty port");
    }
  }
  if (url.host.empty()) refuse(text, "names no host");
  if (!port.empty() && !is_port(port)) refuse(text, "has a port outside 1..65535");
  url.port = port.empty() ? (url.tls ? "443" : "80") : std::string(port);
  return url;
}

}  // namespace gritstone
