// What a GGUF file says about its tokenizer, copied from the metadata; nothing is checked here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace gritstone {

// Filled by the GGUF reader, read by make_tokenizer(). Comments name the metadata key (prefix "tokenizer.ggml."). An absent key leaves its
// default; arrays that are present must be copied whole, whatever their length (make_tokenizer reports the mismatch).
struct GgufVocab {
  std::string model;                              // model: "gpt2" (byte-level BPE) or "llama" (SentencePiece style)
  std::string pre;                                // pre: "olmo", "smollm", "gpt-2", ...; empty if absent
  std::vector<std::string> tokens;                // tokens: byte-mapped text for "gpt2", U+2581 text for "llama"; may be any bytes
  std::vector<std::int32_t> token_type;           // token_type: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte
  std::vector<std::string> merges;                // merges: "left right"
  std::vector<float> scores;                      // scores: "llama" only, higher merges first
  std::optional<std::uint32_t> bos_token_id;      // bos_token_id
  std::optional<std::uint32_t> eos_token_id;      // eos_token_id
  std::optional<std::uint32_t> eot_token_id;      // eot_token_id
  std::optional<std::uint32_t> padding_token_id;  // padding_token_id
  std::optional<std::uint32_t> unknown_token_id;  // unknown_token_id
  std::optional<bool> add_bos_token;              // add_bos_token; absent: "llama" adds one, "gpt2" does not
  std::optional<bool> add_space_prefix;           // add_space_prefix; absent: "llama" has it, "gpt2" has not
};

}  // namespace gritstone
