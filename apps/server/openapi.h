// The OpenAPI 3.1 document of the server, kept beside the code as JSON text and put together when first asked for.
// tests/server/openapi_test.cc compares it with the route table, both ways.
#pragma once

#include <string>
#include <string_view>

namespace gritstone {

// Each is one JSON object: paths, or the members of components.schemas.
extern const std::string_view kOpenApiModelPaths;  // /v1/models, embeddings, chat, completions, rerank, answer; health and metrics
extern const std::string_view kOpenApiStorePaths;  // /v1/vector_stores
extern const std::string_view kOpenApiFilePaths;   // /v1/files, /openapi.json, the page
extern const std::string_view kOpenApiModelSchemas;
extern const std::string_view kOpenApiStoreSchemas;

// The whole document. Every operation gets the response "default": an error object. Thread-safe.
const std::string& openapi_document();

}  // namespace gritstone
