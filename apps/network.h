// What the command line needs an HTTP client for. The client is a part of the server's sources: main() wires it in where that is built.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "pipelines/load_generator.h"
#include "retriever/embedder.h"
#include "retriever/manifest.h"

namespace gritstone {

// How embedders by URL are reached; never stored.
struct EmbedderAccess {
  std::string url;       // empty: where the collection says
  std::string key_file;  // empty: GRITSTONE_EMBEDDER_API_KEY, or no key
};

// A service that answers questions, for `eval latency --url`.
struct ServiceOptions {
  enum class Api { kAnswer, kChat };  // POST /v1/answer of gritstone serve, or OpenAI's POST /v1/chat/completions
  Api api = Api::kAnswer;
  std::string url;                     // http://host:port
  std::string key_file;                // empty: GRITSTONE_API_KEY, or no key
  std::vector<std::string> questions;  // request i asks questions[i % size]
  std::string collection;              // kAnswer
  std::string model;                   // kChat
  std::size_t max_tokens = 64;
  // kAnswer; empty strings are not sent.
  std::size_t passages = 5;
  std::string mode, layout, filter, reuse;
  bool abstain = true;
  std::stop_token stop;
};

// What a service says of itself in /metrics (Prometheus' process_* figures).
struct ServiceUsage {
  std::optional<double> cpu_seconds, resident_bytes;
};

// Thread-safe.
class ServiceUnderLoad {
 public:
  virtual ~ServiceUnderLoad() = default;
  // Throws Error if the service cannot be asked: kUnavailable (not reached, not ready), kInvalidArgument (no or a wrong key).
  virtual void check() = 0;
  virtual RequestOutcome ask(std::size_t index, LoadClock& clock) = 0;  // as LoadTarget
  virtual ServiceUsage usage() = 0;                                     // nothing where it does not say
};

// Empty functions: this build has no HTTP client.
struct Network {
  // As ModelParts::remote_embedder.
  std::function<std::unique_ptr<Embedder>(const RemoteEmbedding& remote, std::size_t dim, const EmbedderAccess& access,
                                          const std::stop_token& stop)>
      embedder;
  std::function<std::unique_ptr<ServiceUnderLoad>(const ServiceOptions& options)> service;
};

}  // namespace gritstone
