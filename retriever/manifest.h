// What made a collection's vectors. Kept in the collection, so that another embedder is refused instead of giving wrong neighbours.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "retriever/embed_options.h"
#include "retriever/whitening.h"

namespace gritstone {

// An embedder that is reached over the network: OpenAI's POST {url}/embeddings. Its key is never stored.
struct RemoteEmbedding {
  std::string url;           // "http://127.0.0.1:8090/v1"; not compared, because a service may move
  std::string model;         // as the service names it
  std::string query_prefix;  // put in front of every query ("query: "), as the model was trained
  std::string document_prefix;
  bool operator==(const RemoteEmbedding&) const = default;
};

struct EmbedderManifest {
  // Set: the vectors come from there, `dim` is 0 until the first came, and model_hash, tokenizer, options and statistics mean nothing.
  std::optional<RemoteEmbedding> remote;
  std::string model_name;  // for people; not compared
  std::string model_hash;  // SHA-256 of the model file, hex
  std::string tokenizer;   // Tokenizer::fingerprint()
  bool grit_tuned = false;
  EmbedOptions options;  // `layer` always set
  std::size_t dim = 0;
  std::optional<EmbedStatistics> statistics;  // absent: none are taken out, or not frozen yet
  // Whether statistics are to be frozen with the first vectors (untuned models and routing).
  bool wants_statistics = false;
  // Of the cosine in convex fusion, measured on this collection's questions (`eval retrieval --tune`); absent: the embedder's default. It
  // belongs to these vectors, so it goes when they are made anew by another embedder.
  std::optional<double> dense_weight;

  // Whether the model was made for embedding.
  bool tuned() const noexcept { return remote.has_value() || grit_tuned; }
};

// Format: one JSON object, "version" 1; statistics as little-endian f32 in hexadecimal (exact, and 8 bytes a number). Of an embedder by
// URL: "version" 2, "kind" "url".
std::string manifest_to_json(const EmbedderManifest& manifest);
// Absent for "{}", a collection without vectors. Throws Error(kDamagedData) naming the field if it is malformed or of a newer version.
std::optional<EmbedderManifest> manifest_from_json(std::string_view json);

// The first difference that makes vectors incomparable, in words ("pooling is weighted-mean, this command uses mean"); empty if there is
// none. Statistics are not compared: they belong to the collection.
std::string manifest_difference(const EmbedderManifest& stored, const EmbedderManifest& current);

// Throws Error(kInvalidArgument) naming the difference and the command that re-embeds.
void require_same_embedder(const EmbedderManifest& stored, const EmbedderManifest& current, std::string_view collection);

}  // namespace gritstone
