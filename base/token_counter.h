// Lets the chunker in index/ measure text with the model's own tokenizer without knowing the model.
#pragma once

#include <cstddef>
#include <string_view>

namespace gritstone {

// Thread-safe. Counts exactly the tokens the embedder and the generator will see for `text` (no special tokens, no prefix).
class TokenCounter {
 public:
  virtual ~TokenCounter() = default;
  virtual std::size_t count(std::string_view text) const = 0;
};

}  // namespace gritstone
