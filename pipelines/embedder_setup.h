// Which embedder a collection has, and whether the model at hand is that embedder.
#pragma once

#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "index/store.h"
#include "pipelines/model_parts.h"
#include "retriever/grit_embedder.h"
#include "retriever/manifest.h"

namespace gritstone {

// What the user asked for; the rest comes from the collection, or for a new one from the model.
struct EmbedOverrides {
  // Another embedder, by URL, instead of the model. What is empty or absent is as the collection has it.
  struct Remote {
    std::string url, model;
    std::optional<std::string> query_prefix, document_prefix;
  };
  std::optional<Remote> remote;
  // Of the model's own embedding.
  std::optional<EmbedFormat> format;
  std::optional<Pooling> pooling;
  std::optional<Attention> attention;
  std::optional<std::size_t> layer;
  std::optional<std::size_t> max_tokens;
  std::optional<std::string> query_instruction;
};

// The model's defaults with the overrides. A pooling given without attention takes the one it was made for: mean is bidirectional, the
// others are causal.
EmbedOptions resolve_embed_options(const ModelConfig& config, const EmbedOverrides& overrides);

// Describes the embedder for a new collection, without statistics; one by URL is not asked yet, so that its dim is 0.
// Throws Error(kInvalidArgument) if there is neither a model nor a URL, or the overrides do not go together.
EmbedderManifest describe_embedder(const ModelParts& parts, const EmbedOverrides& overrides);

// The collection's manifest, checked against this model and the overrides; for a collection without one, that of describe_embedder().
// Throws Error: kInvalidArgument naming the difference and the command that re-embeds; kDamagedData.
EmbedderManifest resolve_manifest(const ModelParts& parts, const CollectionInfo& collection, const EmbedOverrides& overrides);

// Whether its vectors come, or would come, from a URL: then no model is needed for them.
bool embeds_by_url(const CollectionInfo& collection, const EmbedOverrides& overrides = {});

// Borrows the parts' engine and tokenizer. An embedder by URL whose dimension is not known is asked for it.
// Throws Error: kInvalidArgument (no model, no HTTP client), kUnavailable.
std::unique_ptr<Embedder> make_embedder(const ModelParts& parts, const EmbedderManifest& manifest, const std::stop_token& stop = {});

// resolve_manifest() and make_embedder(); nullptr for a collection without a manifest, or whose embedder by URL has not made a vector yet.
// Asks no service.
std::unique_ptr<Embedder> open_collection_embedder(const ModelParts& parts, const CollectionInfo& collection,
                                                   const EmbedOverrides& overrides = {});

// The weight of cosines in this collection's fusion: the one that was measured for it, else the embedder's default.
double default_dense_weight(const CollectionInfo& collection);
// Stores a measured one. Takes the write lock and commits. Throws Error: kNotFound (collection); kInvalidArgument (it has no vectors, or
// others than `collection` had: it was embedded anew meanwhile); kLocked; kStorage.
void keep_dense_weight(Store& store, const CollectionInfo& collection, double weight);

}  // namespace gritstone
