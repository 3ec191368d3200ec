// POST /v1/chat/completions: plain chat, or an answer from a collection.
#include <chrono>
#include <memory>

#include "apps/server/answer_service.h"
#include "apps/server/api_error.h"
#include "apps/server/chat_messages.h"
#include "apps/server/chat_output.h"
#include "apps/server/generation_params.h"
#include "apps/server/routes.h"
#include "generator/prompt_format.h"

namespace gritstone {
namespace {

using Clock = std::chrono::steady_clock;
double milliseconds(Clock::duration d) { return std::chrono::duration<double, std::milli>(d).count(); }

SamplerOptions chat_sampling() {
  SamplerOptions sampling;
  sampling.temperature = 1;  // OpenAI's default
  return sampling;
}

CompletionHead completion_head(const ServerContext& context, const std::string& model) {
  return {random_id("chatcmpl-"), unix_now(), model, "gritstone-" + context.model().engine().numerics_id()};
}

void plain_chat(ServerContext& context, const RequestFields& fields, const std::string& model, const Request& request, ReplyWriter& reply) {
  const Clock::time_point start = Clock::now();
  const double wait_ms = milliseconds(start - request.received);
  const GenerationParams params = read_generation_params(fields, context, chat_sampling());
  const ModelParts& parts = context.model();
  const PromptFormat format(*parts.tokenizer, choose_prompt_style(*parts.config, *parts.tokenizer));
  GenerateRequest job;
  job.prompt = format.chat(read_messages(fields)).tokens;
  job.max_new_tokens =
      room_for_answer(job.prompt.size(), params.max_tokens, parts.config->context, context.options().limits.max_tokens, "messages");
  job.sampling = params.sampling;
  job.stop_ids = parts.tokenizer->stop_ids();
  job.stop_strings = format.stop_strings();
  job.stop_strings.insert(job.stop_strings.end(), params.stops.begin(), params.stops.end());
  job.deadline = request.deadline;
  job.cancel = request.cancel;
  const double tokenize_ms = milliseconds(Clock::now() - start);

  const CompletionHead head = completion_head(context, model);
  ChatStream stream(reply, head, params.include_usage);
  if (params.stream) {
    stream.begin();
    job.on_text = [&](std::string_view piece) { stream.text(piece); };
  }
  const GenerateResult result = generate(parts.engine(), *parts.tokenizer, std::move(job));
  observe_generation(context.metrics(), result.timings, tokenize_ms);
  reply.count_tokens(result.usage.prompt_tokens, result.usage.cached_tokens, result.usage.completion_tokens);
  const auto timings = [&](JsonOutput& json) { write_timings(json, result.timings, wait_ms, tokenize_ms); };
  if (params.stream) {
    stream.end(result.finish_reason, result.usage, nullptr, timings);
  } else {
    const auto annotations = [](JsonOutput& json) { json.begin_array("annotations").end_array(); };
    reply.json(chat_completion_json(head, result.text, result.finish_reason, result.usage, annotations, timings));
  }
}

void collection_chat(AnswerService& service, ServerContext& context, const RequestFields& fields, const std::string& collection,
                     const std::string& model, const Request& request, ReplyWriter& reply) {
  const std::vector<ChatTurn> turns = read_messages(fields);
  AnswerCall call = service.read_call(fields, collection, "max_num_results", "top_k");
  call.question = turns.back().content;
  call.wait_ms = milliseconds(Clock::now() - request.received);
  if (turns.front().role == ChatTurn::Role::kSystem && !turns.front().content.empty()) {
    call.options.instruction = turns.front().content + "\n\n" + std::string(PromptFormat::default_instruction());
  }
  const bool with_usage = call.include_usage;
  const CompletionHead head = completion_head(context, model);
  ChatStream stream(reply, head, with_usage);
  const std::unique_ptr<OpenCollection> open = service.open(call);
  if (call.stream) {
    stream.begin();
    call.options.on_text = [&](std::string_view piece) { stream.text(piece); };
  }
  const AnswerResult result = service.run(*open, call, request, reply);
  const auto annotations = [&](JsonOutput& json) { service.write_annotations(json, *open, result); };
  const auto extra = [&](JsonOutput& json) {
    json.begin_object("gritstone");
    service.write_answer(json, *open, call, result);
    json.end_object();
  };
  if (call.stream) {
    stream.end(result.finish_reason, result.usage, annotations, extra);
  } else {
    reply.json(chat_completion_json(head, result.answer, result.finish_reason, result.usage, annotations, extra));
  }
  service.keep(std::move(call));
}

}  // namespace

void add_chat_routes(Router& router, ServerContext& context, const std::shared_ptr<AnswerService>& service) {
  router.add({.method = "POST",
              .path = "/v1/chat/completions",
              .handler =
                  [&context, service](const Request& request, ReplyWriter& reply) {
                    const rapidjson::Document body = parse_request_json(request.body);
                    const RequestFields fields(body);
                    const std::optional<std::string> model = fields.string("model", 512);
                    std::string collection = collection_of_model(context, model);
                    if (std::optional<std::string> named = fields.string("collection", 64)) collection = std::move(*named);
                    const std::string name = model.value_or(context.model_id());
                    if (collection.empty()) {
                      plain_chat(context, fields, name, request, reply);
                    } else {
                      collection_chat(*service, context, fields, collection, name, request, reply);
                    }
                  },
              .body = BodyKind::kJson,
              .work = Work::kModel});
}

}  // namespace gritstone
