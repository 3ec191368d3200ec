// A vocabulary for models with random weights: no real one may be bundled, yet text must become a realistic number of tokens.
#pragma once

#include <cstddef>

#include "model/tokenizer/gguf_vocab.h"

namespace gritstone {

// Byte-level BPE of `size` tokens: id 0 reserved, id 1 padding, 2 .. 257 the bytes, then pairs, triples and space-led groups of lower-case
// letters in order of their frequency in English, and 25 special tokens at the end of which the first, size - 25, is the end of text
// (50279 of 50304, as in OLMoE). English text becomes about 1.6 times as many tokens as with OLMoE's own vocabulary.
// REQUIRES: size >= 320.
GgufVocab synthetic_vocab(std::size_t size);

}  // namespace gritstone
