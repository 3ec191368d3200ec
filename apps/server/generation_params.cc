#include "apps/server/generation_params.h"

#include <chrono>
#include <random>

#include "apps/server/api_error.h"
#include "base/hash.h"

namespace gritstone {
namespace {

constexpr std::size_t kMaxStops = 4;
constexpr std::size_t kMaxStopBytes = 256;

std::vector<std::string> read_stops(const RequestFields& fields) {
  const rapidjson::Value* value = fields.find("stop");
  if (value == nullptr) return {};
  std::vector<std::string> stops;
  const auto add = [&](const rapidjson::Value& stop, const std::string& name) {
    if (!stop.IsString()) fields.fail(name, "must be a string", "invalid_type");
    if (stop.GetStringLength() == 0 || stop.GetStringLength() > kMaxStopBytes) {
      fields.fail(name, "must have 1 to " + std::to_string(kMaxStopBytes) + " bytes");
    }
    stops.emplace_back(stop.GetString(), stop.GetStringLength());
  };
  if (value->IsArray()) {
    if (value->Size() > kMaxStops) fields.fail("stop", "at most " + std::to_string(kMaxStops) + " stop strings are allowed");
    for (rapidjson::SizeType i = 0; i < value->Size(); ++i) add((*value)[i], "stop[" + std::to_string(i) + "]");
  } else {
    add(*value, "stop");
  }
  return stops;
}

void refuse_unsupported(const RequestFields& fields) {
  fields.integer("n", 1, 1);
  if (fields.find("logprobs") != nullptr) {
    const rapidjson::Value& value = *fields.find("logprobs");
    if (!value.IsBool() || value.GetBool()) fields.fail("logprobs", "is not supported", "unsupported_parameter");
  }
  for (const char* key : {"frequency_penalty", "presence_penalty"}) {
    if (fields.number(key, -2, 2).value_or(0) != 0) {
      fields.fail(key, "is not supported; repetition_penalty is", "unsupported_parameter");
    }
  }
  if (const rapidjson::Value* bias = fields.object("logit_bias"); bias != nullptr && !bias->ObjectEmpty()) {
    fields.fail("logit_bias", "is not supported", "unsupported_parameter");
  }
  for (const char* key : {"tools", "functions"}) {
    if (const rapidjson::Value* tools = fields.array(key, 1024); tools != nullptr && !tools->Empty()) {
      fields.fail(key, "is not supported: the model calls no functions", "unsupported_parameter");
    }
  }
  if (const rapidjson::Value* format = fields.object("response_format"); format != nullptr) {
    const RequestFields inner(*format, fields.name("response_format."));
    if (inner.required_string("type") != "text") inner.fail("type", "only text is supported", "unsupported_parameter");
  }
}

std::uint64_t random_seed() {
  std::random_device random;
  return (static_cast<std::uint64_t>(random()) << 32) | random();
}

}  // namespace

GenerationParams read_generation_params(const RequestFields& fields, const ServerContext& context, const SamplerOptions& defaults,
                                        const char* top_k_key) {
  refuse_unsupported(fields);
  GenerationParams params;
  params.sampling = defaults;
  const auto limit = static_cast<std::int64_t>(context.options().limits.max_tokens);
  for (const char* key : {"max_tokens", "max_completion_tokens"}) {
    const std::optional<std::int64_t> tokens = fields.integer(key, 1, limit);
    if (!tokens) continue;
    if (params.max_tokens) fields.fail(key, "give max_tokens or max_completion_tokens, not both");
    params.max_tokens = static_cast<std::size_t>(*tokens);
  }
  SamplerOptions& sampling = params.sampling;
  sampling.temperature = fields.number("temperature", 0, 2).value_or(sampling.temperature);
  sampling.top_p = fields.number("top_p", 0, 1).value_or(sampling.top_p);
  if (sampling.top_p == 0) sampling.top_p = 1e-9;  // OpenAI allows 0: the most likely token alone
  sampling.top_k = static_cast<std::size_t>(fields.integer(top_k_key, 0, 1'000'000).value_or(static_cast<std::int64_t>(sampling.top_k)));
  sampling.min_p = fields.number("min_p", 0, 0.999).value_or(sampling.min_p);
  sampling.repetition_penalty = fields.number("repetition_penalty", 0.1, 10).value_or(sampling.repetition_penalty);
  const std::optional<std::int64_t> seed = fields.integer("seed", INT64_MIN, INT64_MAX);
  sampling.seed = seed ? static_cast<std::uint64_t>(*seed) : random_seed();
  validate(sampling);
  params.stops = read_stops(fields);
  params.stream = fields.boolean("stream").value_or(false);
  if (const rapidjson::Value* options = fields.object("stream_options"); options != nullptr) {
    if (!params.stream) fields.fail("stream_options", "is allowed only with \"stream\": true");
    params.include_usage = RequestFields(*options, fields.name("stream_options.")).boolean("include_usage").value_or(false);
  }
  return params;
}

std::size_t room_for_answer(std::size_t prompt_tokens, std::optional<std::size_t> wanted, std::size_t context, std::size_t limit,
                            const std::string& param) {
  const std::size_t room = context - std::min(context, prompt_tokens);
  if (room == 0 || (wanted && *wanted > room)) {
    throw ApiError::bad_request("the model's context is " + std::to_string(context) + " tokens; the prompt has " +
                                    std::to_string(prompt_tokens) + " and " + std::to_string(wanted.value_or(1)) + " are to be written",
                                param, "context_length_exceeded");
  }
  return wanted.value_or(std::min(room, limit));
}

std::string collection_of_model(const ServerContext& context, const std::optional<std::string>& model) {
  constexpr std::string_view kPrefix = "gritstone/";
  if (!model || *model == context.model_id()) return {};
  if (model->starts_with(kPrefix)) {
    std::string name = model->substr(kPrefix.size());
    if (is_valid_collection_name(name) && context.store().find_collection(name)) return name;
  }
  throw ApiError::not_found("the model does not exist; GET /v1/models lists those that do", "model", "model_not_found");
}

void write_usage(JsonOutput& json, const Usage& usage) {
  json.begin_object("usage").field("prompt_tokens", usage.prompt_tokens).field("completion_tokens", usage.completion_tokens);
  json.field("total_tokens", usage.prompt_tokens + usage.completion_tokens);
  json.begin_object("prompt_tokens_details").field("cached_tokens", usage.cached_tokens).end_object().end_object();
}

void write_timings(JsonOutput& json, const GenerateTimings& t, double wait_ms, double tokenize_ms) {
  json.begin_object("timings").field("wait_ms", wait_ms).field("tokenize_ms", tokenize_ms).field("queue_ms", t.queue_ms);
  json.field("prefill_ms", t.prefill_ms).field("ttft_ms", t.ttft_ms).field("decode_ms", t.decode_ms).field("total_ms", t.total_ms);
  json.key("tpot_ms");
  if (t.tpot_ms) {
    json.value(*t.tpot_ms);
  } else {
    json.null();
  }
  json.end_object();
}

void observe_generation(Metrics& metrics, const GenerateTimings& timings, double before_ms) {
  metrics.observe_stage(Stage::kPrefill, timings.prefill_ms);
  metrics.observe_stage(Stage::kDecode, timings.decode_ms);
  metrics.observe_ttft(before_ms + timings.ttft_ms);
  if (timings.tpot_ms) metrics.observe_tpot(*timings.tpot_ms);
}

std::int64_t unix_now() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string random_id(std::string_view prefix) {
  std::random_device random;
  std::array<std::uint8_t, 12> bytes{};
  for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random());
  return std::string(prefix) + to_hex(bytes);
}

}  // namespace gritstone
