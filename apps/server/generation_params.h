// The members that chat, completions and answers share: lengths, sampling, stop strings, streaming.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apps/json_output.h"
#include "apps/server/request_json.h"
#include "apps/server/server_context.h"
#include "generator/generate.h"
#include "generator/sampler.h"

namespace gritstone {

struct GenerationParams {
  std::optional<std::size_t> max_tokens;  // absent: as many as fit
  SamplerOptions sampling;
  std::vector<std::string> stops;
  bool stream = false;
  bool include_usage = false;
};

// Reads max_tokens (also max_completion_tokens), temperature, top_p, seed, stop, stream, stream_options, and our top_k, min_p and
// repetition_penalty. Refuses what would change the answer and is not supported: n > 1, logprobs, tools, penalties other than 0,
// logit_bias, a response_format other than text. `defaults`: sampling where the request says nothing; without a seed each request gets a
// random one. top_k_key: the member for the sampler's top-k; /v1/answer counts passages with "top_k".
GenerationParams read_generation_params(const RequestFields& fields, const ServerContext& context, const SamplerOptions& defaults,
                                        const char* top_k_key = "top_k");

// Tokens a prompt leaves for the answer. Throws ApiError (400, context_length_exceeded, param).
std::size_t room_for_answer(std::size_t prompt_tokens, std::optional<std::size_t> wanted, std::size_t context, std::size_t limit,
                            const std::string& param);

// Which collection a model name stands for: "gritstone/notes" -> "notes"; empty: the model itself. Throws ApiError (404, model_not_found).
std::string collection_of_model(const ServerContext& context, const std::optional<std::string>& model);

// "usage":{...} in OpenAI's shape.
void write_usage(JsonOutput& json, const Usage& usage);
// "timings":{...} of a generation, with the time the request waited for a slot.
void write_timings(JsonOutput& json, const GenerateTimings& timings, double wait_ms, double tokenize_ms);
// Figures of a generation, for /metrics.
void observe_generation(Metrics& metrics, const GenerateTimings& timings, double before_ms);

// Unix time in seconds, and "prefix" + 24 random hex digits.
std::int64_t unix_now();
std::string random_id(std::string_view prefix);

}  // namespace gritstone
