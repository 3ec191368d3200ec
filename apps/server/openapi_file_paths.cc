// Paths of /v1/files and of the server's own documents for the OpenAPI document.
#include "apps/server/openapi.h"

namespace gritstone {

const std::string_view kOpenApiFilePaths = R"json({
"/v1/files": {
  "get": {
    "operationId": "listFiles", "tags": ["files"], "summary": "Uploaded files, newest first",
    "parameters": [
      {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 10000, "default": 10000}},
      {"$ref": "#/components/parameters/order"}, {"$ref": "#/components/parameters/after"}, {"$ref": "#/components/parameters/before"},
      {"name": "purpose", "in": "query", "schema": {"type": "string"}, "description": "Only files with this purpose"}],
    "responses": {"200": {"description": "A page of the list", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/FileList"}}}}}
  },
  "post": {
    "operationId": "createFile", "tags": ["files"], "summary": "Uploads a file of at most 64 MiB",
    "description": "Text, Markdown and HTML can be indexed; any file can be kept. Directories in its name are dropped.",
    "requestBody": {"required": true, "content": {"multipart/form-data": {"schema": {"$ref": "#/components/schemas/CreateFile"}}}},
    "responses": {"200": {"description": "The file", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/File"}}}}}
  }
},
"/v1/files/{file_id}": {
  "parameters": [{"$ref": "#/components/parameters/file_id"}],
  "get": {
    "operationId": "getFile", "tags": ["files"], "summary": "One uploaded file",
    "responses": {"200": {"description": "The file", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/File"}}}}}
  },
  "delete": {
    "operationId": "deleteFile", "tags": ["files"], "summary": "Removes the file, and its document from every vector store",
    "responses": {"200": {"description": "Done", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Deleted"}}}}}
  }
},
"/v1/files/{file_id}/content": {
  "parameters": [{"$ref": "#/components/parameters/file_id"}],
  "get": {
    "operationId": "getFileContent", "tags": ["files"], "summary": "The bytes as they were uploaded",
    "responses": {"200": {"description": "The bytes", "content": {"application/octet-stream": {"schema": {}}}}}
  }
},
"/openapi.json": {
  "get": {
    "operationId": "getOpenApi", "tags": ["server"], "summary": "This document",
    "responses": {"200": {"description": "OpenAPI 3.1", "content": {"application/json": {"schema": {"type": "object"}}}}}
  }
}
})json";

}  // namespace gritstone
