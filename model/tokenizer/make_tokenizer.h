// Tokenizers from the two kinds of model files.
#pragma once

#include <memory>
#include <string_view>

#include "model/tokenizer.h"
#include "model/tokenizer/gguf_vocab.h"

namespace gritstone {

// From GGUF metadata: byte-level BPE ("gpt2") or SentencePiece style ("llama").
// Throws Error(kModelRejected) naming what is missing, inconsistent or unsupported.
std::unique_ptr<Tokenizer> make_tokenizer(const GgufVocab& vocab);

// From the text of a Hugging Face tokenizer.json (BPE models). `tokenizer_config_json`, empty if there is none, names the special tokens
// (bos_token, eos_token, pad_token, add_bos_token). `generation_config_json` (or config.json; empty if there is none) gives the ids
// bos_token_id, eos_token_id (one or a list) and pad_token_id where the tokenizer's own files leave them open.
// Throws Error(kModelRejected) naming what is missing, inconsistent or unsupported.
std::unique_ptr<Tokenizer> make_tokenizer_from_hf(std::string_view tokenizer_json, std::string_view tokenizer_config_json = {},
                                                  std::string_view generation_config_json = {});

}  // namespace gritstone
