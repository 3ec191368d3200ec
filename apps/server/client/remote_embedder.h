// An embedder that is another service: OpenAI's POST {url}/embeddings.
#pragma once

#include <cstddef>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "apps/server/client/http_client.h"
#include "retriever/embedder.h"
#include "retriever/manifest.h"

namespace gritstone {

// Thread-safe. Texts go out with the collection's prefixes, kTextsPerCall at a time; rows are checked (count, order, dimension, finite) and
// normalised. 429 and 503 are tried again: while indexing for up to a minute, for a question a few seconds, as the service's Retry-After
// says.
class RemoteEmbedder final : public Embedder {
 public:
  static constexpr std::size_t kTextsPerCall = 32;
  static constexpr std::size_t kBytesPerCall = std::size_t{256} << 10;

  // dim 0: the service is asked, by embedding one word. Throws Error: kInvalidArgument (URL, key), and then as embed().
  RemoteEmbedder(const RemoteEmbedding& remote, std::size_t dim, const ServiceClientOptions& options, const std::stop_token& stop = {});

  std::size_t dim() const noexcept override { return dim_; }
  std::size_t max_tokens() const noexcept override { return std::numeric_limits<std::size_t>::max(); }
  // Tokens are the service's own count where it gives one, shared out by length; request.instruction goes in front of the query prefix.
  // Also throws Error(kInvalidArgument) for an answer of another dimension, and where the service refuses (unknown model, wrong key).
  EmbedResult embed(const EmbedRequest& request, MatrixView<float> out) const override;

 private:
  // Rows [texts, columns] of one call; columns 0: whatever comes. Returns the tokens that the service counted; 0: it says nothing.
  std::size_t embed_call(std::span<const std::string> texts, bool patient, const std::stop_token& stop, std::size_t& columns,
                         std::vector<float>& rows) const;
  HttpReply post(const std::string& body, bool patient, const std::stop_token& stop) const;

  const RemoteEmbedding remote_;
  const std::unique_ptr<ServiceClient> client_;
  const std::string url_;  // of the call, for messages
  std::size_t dim_;
};

}  // namespace gritstone
