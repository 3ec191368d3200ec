// The web page at / and the files it is made of. No key is needed to read them: they hold nothing of the collections.
#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "apps/server/page_assets.h"
#include "apps/server/routes.h"

namespace gritstone {
namespace {

// The page loads from this server alone and runs no script but its own files: what a document or an answer says can neither run nor fetch.
constexpr std::string_view kContentPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'";

// If-None-Match: a list of tags, weak ones included (they compare equal here: the bytes are the same), or "*". Tags of ours hold no comma.
bool names_tag(std::string_view header, std::string_view etag) {
  while (!header.empty()) {
    const std::size_t comma = std::min(header.find(','), header.size());
    std::string_view tag = header.substr(0, comma);
    header.remove_prefix(std::min(comma + 1, header.size()));
    while (!tag.empty() && (tag.front() == ' ' || tag.front() == '\t')) tag.remove_prefix(1);
    while (!tag.empty() && (tag.back() == ' ' || tag.back() == '\t')) tag.remove_suffix(1);
    if (tag.substr(0, 2) == "W/") tag.remove_prefix(2);
    if (tag == etag || tag == "*") return true;
  }
  return false;
}

void serve(const PageAsset& asset, const Request& request, ReplyWriter& reply) {
  // Kept by the browser, but asked for each time: after an upgrade of the server no old script meets a new page.
  reply.set_header("Cache-Control", "no-cache");
  reply.set_header("ETag", asset.etag);
  reply.set_header("Content-Security-Policy", kContentPolicy);
  reply.set_header("Referrer-Policy", "no-referrer");
  reply.set_header("Cross-Origin-Opener-Policy", "same-origin");
  reply.set_header("Cross-Origin-Resource-Policy", "same-origin");
  if (names_tag(request.header("if-none-match"), asset.etag)) {
    reply.send(304, {}, {});
  } else {
    reply.send(200, asset.content_type, std::string(asset.body));
  }
}

}  // namespace

void add_page_routes(Router& router, ServerContext&) {
  for (const PageAsset& asset : page_assets()) {
    Route route;
    route.method = "GET";
    route.path = std::string(asset.path);
    route.handler = [&asset](const Request& request, ReplyWriter& reply) { serve(asset, request, reply); };
    route.auth = Auth::kPublic;
    route.allow_navigation = asset.path == "/";
    router.add(std::move(route));
  }
}

}  // namespace gritstone
