// The model as pipelines use it: what a Session opens, or a test puts together.
#pragma once

#include <functional>
#include <memory>
#include <stop_token>
#include <string>

#include "model/engine.h"
#include "model/model_config.h"
#include "model/tokenizer.h"
#include "retriever/device_vectors.h"
#include "retriever/embedder.h"
#include "retriever/manifest.h"

namespace gritstone {

// Borrows everything; copies are cheap. Engine and hash are asked for only where they are needed, because loading the weights takes seconds
// and hashing a file reads all of it once.
//
// Without a model, config and tokenizer are null: then only collections that are embedded by URL have vectors.
struct ModelParts {
  const ModelConfig* config = nullptr;
  const Tokenizer* tokenizer = nullptr;
  std::function<Engine&()> engine;
  std::function<std::string()> hash;
  VectorPlacement* placement = nullptr;  // as SearchOptions
  // Opens an embedder by URL; empty: there is no HTTP client here.
  //   dim  of its vectors; 0: not known, so that the service is asked now
  // Throws Error: kInvalidArgument (URL, key), kUnavailable, kCancelled.
  std::function<std::unique_ptr<Embedder>(const RemoteEmbedding& remote, std::size_t dim, const std::stop_token& stop)> remote_embedder;
};

}  // namespace gritstone
