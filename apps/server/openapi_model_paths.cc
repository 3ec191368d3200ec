// Paths that use the model, and those of monitoring, for the OpenAPI document.
#include "apps/server/openapi.h"

namespace gritstone {

const std::string_view kOpenApiModelPaths = R"json({
"/health": {
  "get": {
    "operationId": "getHealth", "tags": ["server"], "summary": "200 once the model is loaded, 503 before", "security": [],
    "responses": {
      "200": {"description": "The model is loaded", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Status"}}}},
      "503": {"$ref": "#/components/responses/Unavailable"}}
  }
},
"/v1/health": {
  "get": {
    "operationId": "getHealthV1", "tags": ["server"], "summary": "As /health", "security": [],
    "responses": {
      "200": {"description": "The model is loaded", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Status"}}}},
      "503": {"$ref": "#/components/responses/Unavailable"}}
  }
},
"/ready": {
  "get": {
    "operationId": "getReady", "tags": ["server"], "summary": "200 while requests are taken; 503 while the model loads and while the server stops",
    "security": [],
    "responses": {
      "200": {"description": "Requests are taken", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Status"}}}},
      "503": {"$ref": "#/components/responses/Unavailable"}}
  }
},
"/metrics": {
  "get": {
    "operationId": "getMetrics", "tags": ["server"], "summary": "Counters and histograms in Prometheus' text format",
    "responses": {"200": {"description": "Metrics", "content": {"text/plain": {"schema": {"type": "string"}}}}}
  }
},
"/v1/models": {
  "get": {
    "operationId": "listModels", "tags": ["model"], "summary": "The model, and gritstone/NAME for each collection",
    "responses": {"200": {"description": "All models", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ModelList"}}}}}
  }
},
"/v1/models/{model}": {
  "get": {
    "operationId": "getModel", "tags": ["model"], "summary": "One model",
    "parameters": [{"name": "model", "in": "path", "required": true, "schema": {"type": "string", "minLength": 1}}],
    "responses": {"200": {"description": "The model", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Model"}}}}}
  }
},
"/v1/models/gritstone/{collection}": {
  "get": {
    "operationId": "getCollectionModel", "tags": ["model"], "summary": "The model of a collection, its slash not escaped",
    "parameters": [{"name": "collection", "in": "path", "required": true, "schema": {"type": "string", "minLength": 1}}],
    "responses": {"200": {"description": "The model", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Model"}}}}}
  }
},
"/v1/embeddings": {
  "post": {
    "operationId": "createEmbedding", "tags": ["model"], "summary": "Vectors of texts, of length 1",
    "requestBody": {"required": true, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/EmbeddingRequest"}}}},
    "responses": {"200": {"description": "In the order of the input", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Embeddings"}}}}}
  }
},
"/v1/chat/completions": {
  "post": {
    "operationId": "createChatCompletion", "tags": ["model"], "summary": "A chat, or with model gritstone/NAME an answer from a collection",
    "requestBody": {"required": true, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ChatRequest"}}}},
    "responses": {"200": {"description": "The completion; with stream its chunks as events, then [DONE]", "content": {
      "application/json": {"schema": {"$ref": "#/components/schemas/ChatCompletion"}}, "text/event-stream": {"schema": {"$ref": "#/components/schemas/Event"}}}}}
  }
},
"/v1/completions": {
  "post": {
    "operationId": "createCompletion", "tags": ["model"], "summary": "Text that goes on from a prompt",
    "requestBody": {"required": true, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/CompletionRequest"}}}},
    "responses": {"200": {"description": "The completion; with stream its chunks as events, then [DONE]", "content": {
      "application/json": {"schema": {"$ref": "#/components/schemas/Completion"}}, "text/event-stream": {"schema": {"$ref": "#/components/schemas/Event"}}}}}
  }
},
"/v1/rerank": {
  "post": {
    "operationId": "rerank", "tags": ["model"], "summary": "Documents in the order in which they fit a query",
    "requestBody": {"required": true, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/RerankRequest"}}}},
    "responses": {"200": {"description": "Best first", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Ranking"}}}}}
  }
},
"/rerank": {
  "post": {
    "operationId": "rerankAlias", "tags": ["model"], "summary": "As /v1/rerank",
    "requestBody": {"required": true, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/RerankRequest"}}}},
    "responses": {"200": {"description": "Best first", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Ranking"}}}}}
  }
},
"/v1/answer": {
  "post": {
    "operationId": "answer", "tags": ["model"], "summary": "A question answered from a collection, with citations and timings",
    "description": "With stream, events in this order: retrieval (sources, before the first token), delta (text as it is written), answer (the whole document), done. On failure: error, done.",
    "requestBody": {"required": true, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/AnswerRequest"}}}},
    "responses": {"200": {"description": "The answer", "content": {
      "application/json": {"schema": {"$ref": "#/components/schemas/Answer"}}, "text/event-stream": {"schema": {"$ref": "#/components/schemas/Event"}}}}}
  }
}
})json";

}  // namespace gritstone
