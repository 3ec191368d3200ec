#include "model/tokenizer/make_tokenizer.h"

#include "model/tokenizer/bpe_tokenizer.h"
#include "model/tokenizer/vocab.h"

namespace gritstone {

std::unique_ptr<Tokenizer> make_tokenizer(const GgufVocab& vocab) { return std::make_unique<BpeTokenizer>(vocab_from_gguf(vocab)); }

std::unique_ptr<Tokenizer> make_tokenizer_from_hf(std::string_view tokenizer_json, std::string_view tokenizer_config_json,
                                                  std::string_view generation_config_json) {
  return std::make_unique<BpeTokenizer>(vocab_from_hf_json(tokenizer_json, tokenizer_config_json, generation_config_json));
}

}  // namespace gritstone
