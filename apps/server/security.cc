#include "apps/server/security.h"

#include <arpa/inet.h>
#include <openssl/crypto.h>
#include <sys/stat.h>

#include <algorithm>
#include <cctype>

#include "base/checked_file.h"
#include "base/error.h"

namespace gritstone {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

// Host without its port; absent if malformed. "[::1]:80" gives "[::1]".
std::optional<std::string> host_name(std::string_view value) {
  std::string_view port;
  std::string_view name = value;
  if (!value.empty() && value.front() == '[') {
    const std::size_t close = value.find(']');
    if (close == std::string_view::npos) return std::nullopt;
    name = value.substr(0, close + 1);
    port = value.substr(close + 1);
  } else if (const std::size_t colon = value.find(':'); colon != std::string_view::npos) {
    name = value.substr(0, colon);
    port = value.substr(colon);
  }
  if (name.empty()) return std::nullopt;
  if (!port.empty()) {
    const bool digits = std::all_of(port.begin() + 1, port.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (port.front() != ':' || port.size() < 2 || port.size() > 6 || !digits) return std::nullopt;
  }
  return lower(name);
}

bool is_ip_literal(const std::string& name) {
  unsigned char bytes[16];
  if (name.size() > 2 && name.front() == '[') return ::inet_pton(AF_INET6, name.substr(1, name.size() - 2).c_str(), bytes) == 1;
  return ::inet_pton(AF_INET, name.c_str(), bytes) == 1;
}

std::string bracketed(const std::string& host) {
  return host.find(':') != std::string::npos && host.front() != '[' ? "[" + host + "]" : host;
}

}  // namespace

bool is_loopback_host(std::string_view host) {
  const std::string text(host);
  in_addr v4{};
  if (::inet_pton(AF_INET, text.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  return text == "localhost" || text == "::1" || text == "[::1]";
}

void require_key_beyond_loopback(const ServerOptions& options) {
  if (!options.api_keys.empty() || is_loopback_host(options.host)) return;
  throw Error(ErrorCode::kInvalidArgument, "--host " + options.host +
                                               ": other machines could use the server, so it needs a key; set GRITSTONE_API_KEY or use "
                                               "--api-key-file FILE");
}

std::string check_api_key(std::string key, const std::string& source) {
  const bool printable = std::all_of(key.begin(), key.end(), [](char c) { return c > ' ' && c < 127; });
  if (printable && key.size() >= 8 && key.size() <= 512) return key;
  throw Error(ErrorCode::kInvalidArgument, source + ": a key has 8 to 512 printable characters without spaces");
}

std::vector<std::string> read_api_keys(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) throw Error(ErrorCode::kNotFound, "--api-key-file " + path + " does not exist");
  if ((status.st_mode & (S_IRWXO | S_IWGRP)) != 0) {
    throw Error(ErrorCode::kInvalidArgument, "--api-key-file " + path + ": others can read or change it; use chmod 600");
  }
  const std::string text = read_file(path, 1 << 16);
  std::vector<std::string> keys;
  std::size_t begin = 0;
  while (begin < text.size()) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string line = text.substr(begin, end - begin);
    if (!line.empty() && line.back() == '\r') line.pop_back();
    begin = end + 1;
    if (line.empty() || line.front() == '#') continue;
    keys.push_back(check_api_key(std::move(line), "--api-key-file " + path));
  }
  if (keys.empty()) throw Error(ErrorCode::kInvalidArgument, "--api-key-file " + path + " holds no key");
  return keys;
}

SecurityPolicy::SecurityPolicy(const ServerOptions& options)
    : hosts_{"localhost", "127.0.0.1", "[::1]"},
      any_address_(!is_loopback_host(options.host)),
      origins_(options.allow_origins.begin(), options.allow_origins.end()),
      tls_(!options.tls_certificate.empty()) {
  hosts_.insert(lower(bracketed(options.host)));
  for (const std::string& host : options.allow_hosts) hosts_.insert(lower(bracketed(host)));
  for (const std::string& key : options.api_keys) keys_.push_back(sha256(as_bytes(key)));
}

std::optional<ApiError> SecurityPolicy::check_host(const RequestHead& head) const {
  const std::optional<std::string> name = host_name(head.field("host"));
  if (name && (hosts_.contains(*name) || (any_address_ && is_ip_literal(*name)))) return std::nullopt;
  return ApiError(421, "invalid_request_error", "this server does not answer to that Host; --allow-host NAME adds one", {}, "unknown_host");
}

bool SecurityPolicy::is_own_origin(const std::string& origin, const std::string& host) const {
  return lower(origin) == (tls_ ? "https://" : "http://") + lower(host);
}

std::optional<ApiError> SecurityPolicy::check_origin(const RequestHead& head, const Route* route) const {
  const std::string origin = head.field("origin");
  const ApiError refused(403, "permission_error", "pages of other sites may not call this server; --allow-origin URL adds one", {},
                         "origin_not_allowed");
  if (!origin.empty()) {
    if (origins_.contains(origin) || is_own_origin(origin, head.field("host"))) return std::nullopt;
    return refused;
  }
  if (head.field("sec-fetch-site") != "cross-site") return std::nullopt;
  const bool link = route != nullptr && route->allow_navigation && head.field("sec-fetch-mode") == "navigate" &&
                    head.field("sec-fetch-dest") == "document";
  if (link) return std::nullopt;
  return refused;
}

std::optional<ApiError> SecurityPolicy::check_key(const RequestHead& head) const {
  if (keys_.empty()) return std::nullopt;
  const std::string value = head.field("authorization");
  const ApiError refused(401, "authentication_error", "a valid API key is needed: Authorization: Bearer KEY", {}, "invalid_api_key");
  if (value.size() < 8 || lower(value.substr(0, 7)) != "bearer ") return refused;
  const Sha256Digest given = sha256(as_bytes(std::string_view(value).substr(7)));
  int matches = 0;
  for (const Sha256Digest& key : keys_) matches |= CRYPTO_memcmp(key.data(), given.data(), key.size()) == 0 ? 1 : 0;
  if (matches != 0) return std::nullopt;
  return refused;
}

std::string SecurityPolicy::cors_origin(const RequestHead& head) const {
  std::string origin = head.field("origin");
  return origins_.contains(origin) ? origin : std::string();
}

}  // namespace gritstone
