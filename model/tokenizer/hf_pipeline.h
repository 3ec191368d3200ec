// What tokenizer.json says about the steps around the merges: normalizer, pre_tokenizer, post_processor.
#pragma once

#include <optional>
#include <string>

#include "base/json.h"
#include "model/tokenizer/vocab.h"

namespace gritstone {

// Sets symbols, pre_tokenizer, nfc, space_prefix, prefix_before_space and split_at_spaces from the root object of a tokenizer.json.
// Throws Error(kModelRejected) on any step it does not know: ids that differ silently would be worse than no tokenizer.
void read_hf_pipeline(const rapidjson::Value& root, Vocab& vocab);

// Text of the special token that the post_processor puts before a text; nullopt if there is none.
std::optional<std::string> hf_template_bos(const rapidjson::Value& root);

}  // namespace gritstone
