// POST /v1/completions: text that goes on from a prompt, without chat format.
#include <chrono>

#include "apps/json_output.h"
#include "apps/server/api_error.h"
#include "apps/server/generation_params.h"
#include "apps/server/routes.h"

namespace gritstone {
namespace {

using Clock = std::chrono::steady_clock;
double milliseconds(Clock::duration d) { return std::chrono::duration<double, std::milli>(d).count(); }

std::vector<TokenId> read_prompt(const RequestFields& fields, const Tokenizer& tokenizer) {
  const rapidjson::Value* prompt = fields.find("prompt");
  if (prompt == nullptr) fields.fail("prompt", "is missing", "missing_required_parameter");
  if (prompt->IsArray() && prompt->Size() == 1 && ((*prompt)[0].IsString() || (*prompt)[0].IsArray())) prompt = &(*prompt)[0];
  std::vector<TokenId> ids;
  if (prompt->IsString()) {
    if (tokenizer.adds_bos() && tokenizer.bos() >= 0) ids.push_back(tokenizer.bos());
    const std::vector<TokenId> text = tokenizer.encode({prompt->GetString(), prompt->GetStringLength()});
    ids.insert(ids.end(), text.begin(), text.end());
  } else if (prompt->IsArray() && !prompt->Empty() && (*prompt)[0].IsNumber()) {
    for (const rapidjson::Value& id : prompt->GetArray()) {
      if (!id.IsInt() || id.GetInt() < 0 || static_cast<std::size_t>(id.GetInt()) >= tokenizer.vocab_size()) {
        fields.fail("prompt", "token ids must be integers from 0 to " + std::to_string(tokenizer.vocab_size() - 1));
      }
      ids.push_back(id.GetInt());
    }
  } else {
    fields.fail("prompt", "must be one string or one list of token ids; send a request for each prompt", "invalid_type");
  }
  if (ids.empty()) fields.fail("prompt", "is empty");
  return ids;
}

void open_completion(JsonOutput& json, const std::string& id, std::int64_t created, const std::string& model) {
  json.begin_object().field("id", id).field("object", "text_completion").field("created", created).field("model", model);
}

void write_choice(JsonOutput& json, std::string_view text, const FinishReason* reason) {
  json.begin_array("choices").begin_object().field("index", 0).field("text", text).key("logprobs").null().key("finish_reason");
  if (reason == nullptr) {
    json.null();
  } else {
    json.value(finish_reason_name(*reason));
  }
  json.end_object().end_array();
}

void complete(ServerContext& context, const Request& request, ReplyWriter& reply) {
  const Clock::time_point start = Clock::now();
  const double wait_ms = milliseconds(start - request.received);
  const rapidjson::Document body = parse_request_json(request.body);
  const RequestFields fields(body);
  const ModelParts& parts = context.model();
  const std::optional<std::string> model = fields.string("model", 512);
  if (!collection_of_model(context, model).empty()) {
    fields.fail("model", "collections answer chats; use /v1/chat/completions", "unsupported_parameter");
  }
  SamplerOptions defaults;
  defaults.temperature = 1;
  GenerationParams params = read_generation_params(fields, context, defaults);
  if (!params.max_tokens) params.max_tokens = 16;  // OpenAI's default here
  fields.integer("best_of", 1, 1);
  fields.refuse("suffix", "is not supported");
  const bool echo = fields.boolean("echo").value_or(false);

  GenerateRequest job;
  job.prompt = read_prompt(fields, *parts.tokenizer);
  std::string before = echo ? parts.tokenizer->decode(job.prompt) : std::string();
  job.max_new_tokens =
      room_for_answer(job.prompt.size(), params.max_tokens, parts.config->context, context.options().limits.max_tokens, "prompt");
  job.sampling = params.sampling;
  job.stop_ids = parts.tokenizer->stop_ids();
  job.stop_strings = params.stops;
  job.deadline = request.deadline;
  job.cancel = request.cancel;
  const double tokenize_ms = milliseconds(Clock::now() - start);

  const std::string id = random_id("cmpl-"), name = model.value_or(context.model_id());
  const std::int64_t created = unix_now();
  const auto chunk = [&](std::string_view text, const FinishReason* reason, const GenerateResult* result) {
    JsonOutput json;
    open_completion(json, id, created, name);
    write_choice(json, text, reason);
    if (params.include_usage) json.key("usage").null();
    if (result != nullptr) write_timings(json, result->timings, wait_ms, tokenize_ms);
    json.end_object();
    reply.event(json.text());
  };
  if (params.stream) {
    reply.start_events(EventStyle::kOpenAi);
    if (!before.empty()) chunk(before, nullptr, nullptr);
    job.on_text = [&](std::string_view piece) { chunk(piece, nullptr, nullptr); };
  }
  const GenerateResult result = generate(parts.engine(), *parts.tokenizer, std::move(job));
  observe_generation(context.metrics(), result.timings, tokenize_ms);
  reply.count_tokens(result.usage.prompt_tokens, result.usage.cached_tokens, result.usage.completion_tokens);
  if (params.stream) {
    chunk("", &result.finish_reason, &result);
    if (params.include_usage) {
      JsonOutput json;
      open_completion(json, id, created, name);
      json.begin_array("choices").end_array();
      write_usage(json, result.usage);
      json.end_object();
      reply.event(json.text());
    }
    reply.event("[DONE]");
    return;
  }
  JsonOutput json;
  open_completion(json, id, created, name);
  write_choice(json, before + result.text, &result.finish_reason);
  write_usage(json, result.usage);
  write_timings(json, result.timings, wait_ms, tokenize_ms);
  json.end_object();
  reply.json(json.text());
}

}  // namespace

void add_completion_routes(Router& router, ServerContext& context) {
  router.add({.method = "POST",
              .path = "/v1/completions",
              .handler = [&context](const Request& request, ReplyWriter& reply) { complete(context, request, reply); },
              .body = BodyKind::kJson,
              .work = Work::kModel});
}

}  // namespace gritstone
