// The groups of routes; each registers itself.
#pragma once

#include <memory>

#include "apps/server/answer_service.h"
#include "apps/server/router.h"
#include "apps/server/server_context.h"

namespace gritstone {

void add_health_routes(Router& router, ServerContext& context);                                                 // /health /ready /metrics
void add_model_routes(Router& router, ServerContext& context);                                                  // /v1/models
void add_embedding_routes(Router& router, ServerContext& context);                                              // /v1/embeddings
void add_chat_routes(Router& router, ServerContext& context, const std::shared_ptr<AnswerService>& service);    // /v1/chat/completions
void add_completion_routes(Router& router, ServerContext& context);                                             // /v1/completions
void add_rerank_routes(Router& router, ServerContext& context);                                                 // /v1/rerank
void add_answer_routes(Router& router, ServerContext& context, const std::shared_ptr<AnswerService>& service);  // /v1/answer

void add_file_routes(Router& router, ServerContext& context);          // /v1/files
void add_vector_store_routes(Router& router, ServerContext& context);  // /v1/vector_stores
void add_openapi_route(Router& router, ServerContext& context);        // /openapi.json; add it last: it reads the table
void add_page_routes(Router& router, ServerContext& context);          // / and its static files

// All of them, in the right order.
void add_all_routes(Router& router, ServerContext& context);

}  // namespace gritstone
