// Perplexity of a text under the model, by llama.cpp's convention, so that figures can be compared with its tool.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <stop_token>

#include "model/engine.h"
#include "model/tokenizer.h"

namespace gritstone {

struct PerplexityOptions {
  std::size_t window = 512;
  std::stop_token cancel;
  // Called after each window on the caller's thread.
  std::function<void(std::size_t done, std::size_t total)> on_progress;
};

struct PerplexityResult {
  double perplexity = 0;      // exp(nll)
  double nll = 0;             // mean negative log-likelihood of a scored token, nats
  double standard_error = 0;  // of nll, over the scored tokens as if independent
  std::size_t tokens = 0;     // scored
  std::size_t windows = 0;
};

// Cuts the ids into consecutive windows without overlap and drops the rest. In each window the tokens of the second half but the first of
// it are scored: position j >= window/2 predicts position j + 1. If the tokenizer adds a BOS, ids start with one and every window's first
// token is replaced by it. A text shorter than one window is one window of its own length.
// Throws Error: kInvalidArgument (window < 4 or over the model's context, fewer than 4 tokens), kCancelled, and what the engine throws.
PerplexityResult perplexity(Engine& engine, const Tokenizer& tokenizer, std::string_view text, const PerplexityOptions& options);

}  // namespace gritstone
