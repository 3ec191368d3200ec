// config.json of a Hugging Face directory to hyperparameters.
#pragma once

#include <string>
#include <string_view>

#include "model/model_config.h"

namespace gritstone {

// OlmoeForCausalLM, LlamaForCausalLM, MistralForCausalLM. Missing keys take the defaults of transformers' config classes. The result passed
// check_config(). Sequences longer than a Mistral's sliding window would need it, so `context` ends there.
// Throws Error(kModelRejected): unknown architecture, wrong types, biases, RoPE scaling, quantised checkpoints.
ModelConfig hf_config(std::string_view config_json, const std::string& what);

// The chat template of a tokenizer_config.json (a string, or a list of named ones: "default"); empty if it has none or is malformed.
std::string hf_chat_template(std::string_view tokenizer_config_json);

}  // namespace gritstone
