#include "apps/server/chat_output.h"

#include "apps/server/generation_params.h"

namespace gritstone {
namespace {

void open_document(JsonOutput& json, const CompletionHead& head, std::string_view object) {
  json.begin_object().field("id", head.id).field("object", object).field("created", head.created).field("model", head.model);
  json.field("system_fingerprint", head.fingerprint);
}

}  // namespace

std::string chat_completion_json(const CompletionHead& head, std::string_view content, FinishReason reason, const Usage& usage,
                                 const WriteMembers& message, const WriteMembers& extra) {
  JsonOutput json;
  open_document(json, head, "chat.completion");
  json.begin_array("choices").begin_object().field("index", 0).begin_object("message");
  json.field("role", "assistant").field("content", content).key("refusal").null();
  if (message) message(json);
  json.end_object().key("logprobs").null().field("finish_reason", finish_reason_name(reason)).end_object().end_array();
  write_usage(json, usage);
  if (extra) extra(json);
  json.end_object();
  return json.text();
}

void ChatStream::open(JsonOutput& json) const { open_document(json, head_, "chat.completion.chunk"); }

// Every chunk has the member where the last one will, as OpenAI's do.
void ChatStream::usage_member(JsonOutput& json) const {
  if (include_usage_) json.key("usage").null();
}

void ChatStream::begin() {
  reply_.start_events(EventStyle::kOpenAi);
  JsonOutput json;
  open(json);
  json.begin_array("choices").begin_object().field("index", 0).begin_object("delta");
  json.field("role", "assistant").field("content", "").key("refusal").null().end_object();
  json.key("logprobs").null().key("finish_reason").null().end_object().end_array();
  usage_member(json);
  json.end_object();
  reply_.event(json.text());
}

void ChatStream::text(std::string_view piece) {
  JsonOutput json;
  open(json);
  json.begin_array("choices").begin_object().field("index", 0).begin_object("delta").field("content", piece).end_object();
  json.key("logprobs").null().key("finish_reason").null().end_object().end_array();
  usage_member(json);
  json.end_object();
  reply_.event(json.text());
}

void ChatStream::end(FinishReason reason, const Usage& usage, const WriteMembers& delta, const WriteMembers& extra) {
  {
    JsonOutput json;
    open(json);
    json.begin_array("choices").begin_object().field("index", 0).begin_object("delta");
    if (delta) delta(json);
    json.end_object().key("logprobs").null().field("finish_reason", finish_reason_name(reason)).end_object().end_array();
    usage_member(json);
    if (extra) extra(json);
    json.end_object();
    reply_.event(json.text());
  }
  if (include_usage_) {
    JsonOutput json;
    open(json);
    json.begin_array("choices").end_array();
    write_usage(json, usage);
    json.end_object();
    reply_.event(json.text());
  }
  reply_.event("[DONE]");
}

}  // namespace gritstone
