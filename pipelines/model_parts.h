// The model as pipelines use it: what a Session opens, or a test puts together.
#pragma once

#include <functional>
#include <string>

#include "model/engine.h"
#include "model/model_config.h"
#include "model/tokenizer.h"

namespace gritstone {

// Borrows everything; copies are cheap. Engine and hash are asked for only where they are needed, because loading the weights takes seconds
// and hashing a file reads all of it once.
struct ModelParts {
  const ModelConfig* config = nullptr;
  const Tokenizer* tokenizer = nullptr;
  std::function<Engine&()> engine;
  std::function<std::string()> hash;
};

}  // namespace gritstone
