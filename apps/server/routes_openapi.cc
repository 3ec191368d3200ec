// GET /openapi.json.
#include "apps/server/openapi.h"
#include "apps/server/routes.h"

namespace gritstone {

void add_openapi_route(Router& router, ServerContext&) {
  Route route;
  route.method = "GET";
  route.path = "/openapi.json";
  route.handler = [](const Request&, ReplyWriter& reply) { reply.json(openapi_document()); };
  router.add(std::move(route));
}

}  // namespace gritstone
