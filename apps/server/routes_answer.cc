// POST /v1/answer: retrieval, answer, citations and timings, whole or as they come.
#include <memory>

#include "apps/answer_json.h"
#include "apps/server/answer_service.h"
#include "apps/server/api_error.h"
#include "apps/server/file_ids.h"
#include "apps/server/routes.h"

namespace gritstone {
namespace {

void write_optional(JsonOutput& json, std::string_view key, const std::optional<float>& value) {
  json.key(key);
  if (value) {
    json.value(*value);
  } else {
    json.null();
  }
}

std::string retrieval_json(const OpenCollection& open, const SearchResult& found) {
  JsonOutput json;
  json.begin_object().begin_array("sources");
  for (std::size_t i = 0; i < found.hits.size(); ++i) {
    const SearchHit& hit = found.hits[i];
    const ChunkRecord& chunk = hit.chunk;
    json.begin_object().field("n", i + 1).field("file_id", file_id(*open.snapshot, chunk.path)).field("path", chunk.path);
    json.field("heading", chunk.heading_path).field("start", chunk.span.start).field("end", chunk.span.end).field("text", chunk.text);
    json.field("score", hit.score).begin_object("scores");
    write_optional(json, "bm25", hit.bm25);
    write_optional(json, "dense", hit.dense);
    json.end_object().end_object();
  }
  const SearchTimings& t = found.timings;
  json.end_array().begin_object("timings").field("embed_ms", t.embed_ms).field("bm25_ms", t.bm25_ms).field("vector_ms", t.vector_ms);
  json.field("fuse_ms", t.fuse_ms).field("total_ms", t.total_ms).end_object();
  json.field("generation", open.snapshot->generation()).end_object();
  return json.text();
}

void answer_question(ServerContext& context, AnswerService& service, const Request& request, ReplyWriter& reply) {
  const rapidjson::Document body = parse_request_json(request.body);
  const RequestFields fields(body);
  std::string collection = fields.string("collection", 64).value_or("");
  const std::optional<std::string> model = fields.string("model", 512);
  if (collection.empty()) collection = collection_of_model(context, model);
  if (collection.empty()) fields.fail("collection", "is missing", "missing_required_parameter");
  AnswerCall call = service.read_call(fields, collection, "top_k", "sampler_top_k");
  call.question = fields.required_string("question", std::size_t{1} << 16);
  call.wait_ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - request.received).count();
  const std::string id = random_id("answer-");
  const std::int64_t created = unix_now();
  const std::unique_ptr<OpenCollection> open = service.open(call);
  if (call.stream) {
    reply.start_events(EventStyle::kNamed);
    call.options.on_retrieved = [&](const SearchResult& found) { reply.event("retrieval", retrieval_json(*open, found)); };
    call.options.on_budget = [&](const BudgetReport& report) {
      JsonOutput json;
      write_budget_report(json, report);
      reply.event("budget", json.text());
    };
    call.options.on_text = [&](std::string_view text) {
      JsonOutput json;
      json.begin_object().field("text", text).end_object();
      reply.event("delta", json.text());
    };
  }
  const AnswerResult result = service.run(*open, call, request, reply);
  JsonOutput json;
  json.begin_object().field("id", id).field("object", "answer").field("created", created).field("model", context.model_id());
  service.write_answer(json, *open, call, result);
  json.end_object();
  if (call.stream) {
    reply.event("answer", json.text());
    reply.event("done", "[DONE]");
  } else {
    reply.json(json.text());
  }
  service.keep(std::move(call));
}

}  // namespace

void add_answer_routes(Router& router, ServerContext& context, const std::shared_ptr<AnswerService>& service) {
  router.add(
      {.method = "POST",
       .path = "/v1/answer",
       .handler = [&context, service](const Request& request, ReplyWriter& reply) { answer_question(context, *service, request, reply); },
       .body = BodyKind::kJson,
       .work = Work::kModel});
}

}  // namespace gritstone
