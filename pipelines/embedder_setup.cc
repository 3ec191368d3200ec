#include "pipelines/embedder_setup.h"

#include "base/error.h"
#include "retriever/fusion.h"

namespace gritstone {
namespace {

void apply(const EmbedOverrides& overrides, EmbedOptions& options) {
  if (overrides.format) options.format = *overrides.format;
  if (overrides.pooling) options.pooling = *overrides.pooling;
  if (overrides.attention) options.attention = *overrides.attention;
  if (overrides.layer) options.layer = *overrides.layer;
  if (overrides.max_tokens) options.max_tokens = *overrides.max_tokens;
  if (overrides.query_instruction) options.query_instruction = *overrides.query_instruction;
}

bool concerns_model(const EmbedOverrides& o) {
  return o.format || o.pooling || o.attention || o.layer || o.max_tokens || o.query_instruction;
}

void require_model(const ModelParts& parts) {
  if (parts.config == nullptr)
    throw Error(ErrorCode::kInvalidArgument, "the collection is embedded by a model, and none is named: use -m FILE");
}

void apply(const EmbedOverrides::Remote& overrides, RemoteEmbedding& remote) {
  if (!overrides.url.empty()) remote.url = overrides.url;
  if (!overrides.model.empty()) remote.model = overrides.model;
  if (overrides.query_prefix) remote.query_prefix = *overrides.query_prefix;
  if (overrides.document_prefix) remote.document_prefix = *overrides.document_prefix;
}

// The overrides' embedder by URL over what the collection has.
EmbedderManifest remote_manifest(const EmbedOverrides& overrides, const RemoteEmbedding& stored, std::size_t dim) {
  if (concerns_model(overrides)) {
    throw Error(ErrorCode::kInvalidArgument, "pooling, attention, layer and token limit are the model's; an embedder by URL has its own");
  }
  EmbedderManifest manifest;
  manifest.remote = stored;
  if (overrides.remote) apply(*overrides.remote, *manifest.remote);
  if (manifest.remote->url.empty()) throw Error(ErrorCode::kInvalidArgument, "--embedder-model needs --embedder-url URL");
  if (manifest.remote->model.empty()) throw Error(ErrorCode::kInvalidArgument, "--embedder-url needs --embedder-model NAME");
  manifest.model_name = manifest.remote->model;
  manifest.dim = dim;
  return manifest;
}

}  // namespace

EmbedOptions resolve_embed_options(const ModelConfig& config, const EmbedOverrides& overrides) {
  EmbedOptions options = default_embed_options(config);
  if (overrides.pooling && !overrides.attention) {
    options.attention = *overrides.pooling == Pooling::kMean ? Attention::kBidirectional : Attention::kCausal;
  }
  apply(overrides, options);
  validate(options, config);
  return options;
}

EmbedderManifest describe_embedder(const ModelParts& parts, const EmbedOverrides& overrides) {
  if (overrides.remote) return remote_manifest(overrides, {}, 0);
  require_model(parts);
  EmbedderManifest manifest;
  manifest.model_name = parts.config->name;
  manifest.model_hash = parts.hash();
  manifest.tokenizer = parts.tokenizer->fingerprint();
  manifest.grit_tuned = parts.config->grit_tuned;
  manifest.options = resolve_embed_options(*parts.config, overrides);
  if (!manifest.options.layer) manifest.options.layer = parts.config->layers;
  manifest.dim = embedding_dim(manifest.options, *parts.config);
  manifest.wants_statistics = !parts.config->grit_tuned || manifest.options.pooling == Pooling::kRouting;
  return manifest;
}

EmbedderManifest resolve_manifest(const ModelParts& parts, const CollectionInfo& collection, const EmbedOverrides& overrides) {
  std::optional<EmbedderManifest> stored = manifest_from_json(collection.manifest);
  if (!stored) return describe_embedder(parts, overrides);
  if (stored->remote) {
    const EmbedderManifest current = remote_manifest(overrides, *stored->remote, stored->dim);
    require_same_embedder(*stored, current, collection.name);
    return current;
  }
  if (overrides.remote) require_same_embedder(*stored, remote_manifest(overrides, {}, 0), collection.name);
  require_model(parts);
  EmbedderManifest current = *stored;
  current.model_name = parts.config->name;
  current.model_hash = parts.hash();
  current.tokenizer = parts.tokenizer->fingerprint();
  if (stored->model_hash == current.model_hash) {
    apply(overrides, current.options);
    validate(current.options, *parts.config);
    current.dim = embedding_dim(current.options, *parts.config);
  }
  require_same_embedder(*stored, current, collection.name);
  if (overrides.query_instruction) stored->options.query_instruction = *overrides.query_instruction;
  return *stored;
}

bool embeds_by_url(const CollectionInfo& collection, const EmbedOverrides& overrides) {
  if (overrides.remote) return true;
  const std::optional<EmbedderManifest> manifest = collection.manifest.empty() ? std::nullopt : manifest_from_json(collection.manifest);
  return manifest && manifest->remote;
}

std::unique_ptr<Embedder> make_embedder(const ModelParts& parts, const EmbedderManifest& manifest, const std::stop_token& stop) {
  if (manifest.remote) {
    if (!parts.remote_embedder) {
      throw Error(ErrorCode::kInvalidArgument, "the vectors come from " + manifest.remote->url + ", and this build has no HTTP client");
    }
    return parts.remote_embedder(*manifest.remote, manifest.dim, stop);
  }
  require_model(parts);
  return std::make_unique<GritEmbedder>(parts.engine(), *parts.tokenizer, manifest.options, manifest.statistics);
}

std::unique_ptr<Embedder> open_collection_embedder(const ModelParts& parts, const CollectionInfo& collection,
                                                   const EmbedOverrides& overrides) {
  const std::optional<EmbedderManifest> stored = manifest_from_json(collection.manifest);
  if (!stored || (stored->remote && stored->dim == 0)) return nullptr;
  return make_embedder(parts, resolve_manifest(parts, collection, overrides));
}

double default_dense_weight(const CollectionInfo& collection) {
  const std::optional<EmbedderManifest> manifest = manifest_from_json(collection.manifest);
  if (manifest && manifest->dense_weight) return *manifest->dense_weight;
  if (manifest && manifest->tuned()) return kDenseWeightTuned;
  return manifest && manifest->statistics ? kDenseWeightUntuned : kDenseWeightUncentred;
}

void keep_dense_weight(Store& store, const CollectionInfo& collection, double weight) {
  const auto job = store.begin_write();
  const auto now = store.find_collection(collection.name);
  if (!now) throw Error(ErrorCode::kNotFound, "there is no collection \"" + collection.name + "\"");
  std::optional<EmbedderManifest> manifest = manifest_from_json(now->manifest);
  if (!manifest) throw Error(ErrorCode::kInvalidArgument, "collection \"" + collection.name + "\" has no vectors to weigh");
  if (now->id != collection.id || now->manifest != collection.manifest) {
    throw Error(ErrorCode::kInvalidArgument, "collection \"" + collection.name + "\" was embedded anew while its weight was measured");
  }
  manifest->dense_weight = weight;
  job->set_manifest(collection.name, manifest_to_json(*manifest));
  job->commit();
}

}  // namespace gritstone
