#include "apps/server/openapi.h"

#include "apps/server/page_assets.h"
#include "base/json.h"

namespace gritstone {
namespace {

// What stands around paths and schemas.
constexpr std::string_view kFrame = R"json({
"openapi": "3.1.0",
"info": {
  "title": "Gritstone", "version": "",
  "description": "Answers from documents with one model that embeds and writes. Shapes are OpenAI's where it has one; members marked Gritstone are ours.",
  "license": {"name": "See the project"}
},
"servers": [{"url": "/"}],
"security": [{"key": []}],
"paths": {},
"components": {
  "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "needed if the server was started with API keys"}},
  "schemas": {},
  "responses": {
    "Error": {"description": "The request failed", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}},
    "Unavailable": {"description": "Not now; Retry-After says when", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}
  },
  "parameters": {
    "limit": {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}},
    "order": {"name": "order", "in": "query", "schema": {"enum": ["asc", "desc"], "default": "desc"}, "description": "by time of creation"},
    "after": {"name": "after", "in": "query", "schema": {"type": "string"}, "description": "an id of the list: the page begins behind it"},
    "before": {"name": "before", "in": "query", "schema": {"type": "string"}, "description": "an id of the list: the page ends before it"},
    "file_status": {"name": "filter", "in": "query", "schema": {"enum": ["in_progress", "completed", "failed", "cancelled"]}, "description": "only files with this status"},
    "file_id": {"name": "file_id", "in": "path", "required": true, "schema": {"type": "string", "minLength": 1}},
    "vector_store_id": {"name": "vector_store_id", "in": "path", "required": true, "schema": {"type": "string", "minLength": 1}},
    "batch_id": {"name": "batch_id", "in": "path", "required": true, "schema": {"type": "string", "minLength": 1}}
  }
}
})json";

using Allocator = rapidjson::Document::AllocatorType;

void merge(rapidjson::Value& into, std::string_view text, Allocator& memory) {
  const rapidjson::Document part = parse_json(text, "OpenAPI document", 64);
  for (const auto& member : part.GetObject()) {
    into.AddMember(rapidjson::Value(member.name, memory), rapidjson::Value(member.value, memory), memory);
  }
}

rapidjson::Value text_value(std::string_view text, Allocator& memory) {
  return {text.data(), static_cast<rapidjson::SizeType>(text.size()), memory};
}

// The page's files need no words of their own.
void add_assets(rapidjson::Value& paths, Allocator& memory) {
  for (const PageAsset& asset : page_assets()) {
    const std::string type(asset.content_type.substr(0, asset.content_type.find(';')));
    const std::string operation = R"({"get": {"tags": ["page"], "summary": "A file of the web page", "security": [], "responses": {
      "200": {"description": "The file", "content": {")" +
                                  type + R"(": {"schema": {}}}},
      "304": {"description": "As the client has it"}}}})";
    const rapidjson::Document item = parse_json(operation, "OpenAPI document");
    paths.AddMember(text_value(asset.path, memory), rapidjson::Value(item, memory), memory);
  }
}

std::string build() {
  rapidjson::Document document = parse_json(kFrame, "OpenAPI document", 64);
  Allocator& memory = document.GetAllocator();
  document["info"]["version"] = text_value(GRITSTONE_VERSION, memory);
  rapidjson::Value& paths = document["paths"];
  for (const std::string_view part : {kOpenApiModelPaths, kOpenApiStorePaths, kOpenApiFilePaths}) merge(paths, part, memory);
  add_assets(paths, memory);
  for (const std::string_view part : {kOpenApiModelSchemas, kOpenApiStoreSchemas}) merge(document["components"]["schemas"], part, memory);
  for (auto& path : paths.GetObject()) {
    for (auto& operation : path.value.GetObject()) {
      if (!operation.value.IsObject()) continue;  // the path's parameters
      rapidjson::Value error(rapidjson::kObjectType);
      error.AddMember("$ref", "#/components/responses/Error", memory);
      operation.value["responses"].AddMember("default", error, memory);
    }
  }
  return json_text(document);
}

}  // namespace

const std::string& openapi_document() {
  static const std::string text = build();
  return text;
}

}  // namespace gritstone
