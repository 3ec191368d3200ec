// GGUF metadata to hyperparameters and vocabulary.
#pragma once

#include <string>

#include "model/files/gguf_reader.h"
#include "model/model_config.h"
#include "model/tokenizer/gguf_vocab.h"

namespace gritstone {

// Reads {architecture}.* and the tensor table (vocabulary size, tied embeddings). The result passed check_config().
// Throws Error(kModelRejected): unknown architecture, missing or contradictory keys, RoPE scaling, a part of a split model.
ModelConfig gguf_config(const GgufFile& file, const std::string& what);

// Copies tokenizer.ggml.*. Throws Error(kModelRejected) if there is none or a key has the wrong type.
GgufVocab gguf_vocab(const GgufFile& file, const std::string& what);

}  // namespace gritstone
