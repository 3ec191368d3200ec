// Who may talk to the server: names it answers to, pages that may call it, keys.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "apps/server/api_error.h"
#include "apps/server/http_head.h"
#include "apps/server/router.h"
#include "apps/server/server_options.h"
#include "base/hash.h"

namespace gritstone {

// Throws Error(kInvalidArgument) for an address other machines can reach while there is no key.
void require_key_beyond_loopback(const ServerOptions& options);
// "127.0.0.1", "::1", "localhost", and all of 127.0.0.0/8.
bool is_loopback_host(std::string_view host);

// Keys of a file: one a line, blank lines and lines that start with # left out. Throws Error: kNotFound, kStorage; kInvalidArgument for a
// file that holds none, as check_api_key(), or a file that others can read.
std::vector<std::string> read_api_keys(const std::string& path);

// The key if it has 8 to 512 printable characters without spaces; throws Error(kInvalidArgument) naming `source`, never the key.
std::string check_api_key(std::string key, const std::string& source);

// Immutable; thread-safe.
class SecurityPolicy {
 public:
  explicit SecurityPolicy(const ServerOptions& options);

  // 421 unless Host names this server: whoever rebinds a name of their own to our address is not answered.
  std::optional<ApiError> check_host(const RequestHead& head) const;
  // 403 for pages of other origins, unless they are listed. Our own page sends its origin too, which equals Host.
  std::optional<ApiError> check_origin(const RequestHead& head, const Route* route) const;
  // 401 without a valid key; compares hashes of both sides, over all keys, in constant time.
  std::optional<ApiError> check_key(const RequestHead& head) const;
  bool needs_key() const noexcept { return !keys_.empty(); }
  // The origin to name in Access-Control-Allow-Origin; empty: no CORS headers.
  std::string cors_origin(const RequestHead& head) const;

 private:
  bool is_own_origin(const std::string& origin, const std::string& host) const;

  std::set<std::string> hosts_;  // lower case, without port; IPv6 in brackets
  bool any_address_ = false;     // bound beyond loopback: any IP literal is this server's, names are not
  std::set<std::string> origins_;
  std::vector<Sha256Digest> keys_;
  bool tls_ = false;
};

}  // namespace gritstone
