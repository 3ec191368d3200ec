// GET /v1/models: the model, and every collection as a model that answers from it.
#include "apps/json_output.h"
#include "apps/server/api_error.h"
#include "apps/server/generation_params.h"
#include "apps/server/routes.h"

namespace gritstone {
namespace {

void write_model(JsonOutput& json, const ServerContext& context, const std::string& id) {
  json.begin_object().field("id", id).field("object", "model").field("created", context.started_unix());
  json.field("owned_by", "gritstone").end_object();
}

void list(const ServerContext& context, ReplyWriter& reply) {
  JsonOutput json;
  json.begin_object().field("object", "list").begin_array("data");
  write_model(json, context, context.model_id());
  for (const CollectionInfo& collection : context.store().collections()) write_model(json, context, "gritstone/" + collection.name);
  json.end_array().end_object();
  reply.json(json.text());
}

void retrieve(const ServerContext& context, const std::string& id, ReplyWriter& reply) {
  collection_of_model(context, id);
  JsonOutput json;
  write_model(json, context, id);
  reply.json(json.text());
}

}  // namespace

void add_model_routes(Router& router, ServerContext& context) {
  router.add({.method = "GET", .path = "/v1/models", .handler = [&context](const Request&, ReplyWriter& reply) { list(context, reply); }});
  router.add({.method = "GET", .path = "/v1/models/{model}", .handler = [&context](const Request& request, ReplyWriter& reply) {
                retrieve(context, request.param("model"), reply);
              }});
  // The slash of "gritstone/notes", where a client does not escape it.
  router.add(
      {.method = "GET", .path = "/v1/models/gritstone/{collection}", .handler = [&context](const Request& request, ReplyWriter& reply) {
         retrieve(context, "gritstone/" + request.param("collection"), reply);
       }});
}

}  // namespace gritstone
