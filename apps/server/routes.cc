#include "apps/server/routes.h"

namespace gritstone {

void add_all_routes(Router& router, ServerContext& context) {
  const auto service = std::make_shared<AnswerService>(context);
  add_health_routes(router, context);
  add_model_routes(router, context);
  add_embedding_routes(router, context);
  add_chat_routes(router, context, service);
  add_completion_routes(router, context);
  add_rerank_routes(router, context);
  add_answer_routes(router, context, service);
#if __has_include("apps/server/routes_files.cc")
  add_file_routes(router, context);
#endif
#if __has_include("apps/server/routes_vector_stores.cc")
  add_vector_store_routes(router, context);
#endif
#if __has_include("apps/server/routes_page.cc")
  add_page_routes(router, context);
#endif
#if __has_include("apps/server/routes_openapi.cc")
  add_openapi_route(router, context);
#endif
}

}  // namespace gritstone
