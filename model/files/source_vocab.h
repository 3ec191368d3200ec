// The vocabulary of a GGUF file or a Hugging Face directory, in the form that GGUF stores.
#pragma once

#include <filesystem>
#include <optional>

#include "model/tokenizer/gguf_vocab.h"

namespace gritstone {

// nullopt if the source has no tokenizer. For SentencePiece-style tokenizer.json files, scores are made from the order of the merges.
// Throws Error: kNotFound; kModelRejected if the tokenizer is malformed or GGUF cannot express it; kStorage.
std::optional<GgufVocab> read_source_vocab(const std::filesystem::path& source);

}  // namespace gritstone
