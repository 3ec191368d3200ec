// The route table: which handler answers which method and path, and what may be sent to it.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apps/server/reply.h"
#include "apps/server/request.h"

namespace gritstone {

// Runs on a worker thread and may block. Throws ApiError, Error or any std::exception to fail.
using Handler = std::function<void(const Request&, ReplyWriter&)>;

enum class Auth {
  kRequired,  // the API key, if the server has any
  kPublic,    // health, and the static files of the page
};

enum class BodyKind {
  kNone,          // a body is refused
  kJson,          // application/json, needed
  kOptionalJson,  // application/json or no body at all
  kMultipart,     // multipart/form-data
};

enum class Work {
  kLight,  // no model: answered beside whatever the model does
  kModel,  // takes one of the slots, waits in the queue, or is refused with 429; 503 while the model loads
};

inline constexpr std::size_t kJsonBodyLimit = std::size_t{4} << 20;
inline constexpr std::size_t kUploadBodyLimit = std::size_t{32} << 20;

struct Route {
  std::string method;  // GET, POST, DELETE
  std::string path;    // "/v1/vector_stores/{id}/files/{file_id}": a name in braces matches one non-empty segment
  Handler handler;
  Auth auth = Auth::kRequired;
  BodyKind body = BodyKind::kNone;
  std::size_t body_limit = kJsonBodyLimit;
  Work work = Work::kLight;
  // GET routes of the page: a link from another site may lead here (Sec-Fetch-Site: cross-site is refused elsewhere).
  bool allow_navigation = false;
};

// Filled before the server starts; read from any thread afterwards.
class Router {
 public:
  // GS_CHECKs that the path is well formed and no other route has the same method and shape.
  void add(Route route);

  struct Match {
    const Route* route = nullptr;               // null: no such method here
    std::map<std::string, std::string> params;  // decoded
    std::vector<std::string> allowed;           // methods of this path, sorted, with HEAD and OPTIONS; empty: no such path
  };
  // `path` as in the request line, without query: segments are decoded after they are matched, so %2F never splits one. HEAD finds GET.
  // Literal segments win over parameters.
  Match match(std::string_view method, std::string_view path) const;

  const std::vector<Route>& routes() const noexcept { return routes_; }

 private:
  std::vector<Route> routes_;
};

// Absent if the escapes are malformed or hide a zero byte.
std::optional<std::string> percent_decode(std::string_view text, bool plus_is_space = false);

}  // namespace gritstone
