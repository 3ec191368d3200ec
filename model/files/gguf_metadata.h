// Hyperparameters and vocabularies as GGUF metadata: what gguf_config.h reads, written.
#pragma once

#include "model/dtype.h"
#include "model/files/gguf_writer.h"
#include "model/model_config.h"
#include "model/tokenizer/gguf_vocab.h"

namespace gritstone {

// general.* and {architecture}.*; `type` is what most weights have.
void write_config(GgufWriter& writer, const ModelConfig& config, DType type);

// general.file_type, general.quantization_version: informative, shown by other programs.
void write_file_type(GgufWriter& writer, DType type);

// tokenizer.ggml.* for exactly `rows` tokens: what the vocabulary lacks is filled with unused ones, because llama.cpp takes the number of
// tokens for the number of embedding rows. Throws Error(kModelRejected) if there are more tokens than rows.
void write_vocab(GgufWriter& writer, GgufVocab vocab, std::size_t rows);

// Says that there is no tokenizer, in the way llama.cpp accepts; the special ids of the config are kept.
void write_no_vocab(GgufWriter& writer, const ModelConfig& config);

}  // namespace gritstone
