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

std::unique_ptr<GritEmbedder> make_embedder(const ModelParts& parts, const EmbedderManifest& manifest) {
  return std::make_unique<GritEmbedder>(parts.engine(), *parts.tokenizer, manifest.options, manifest.statistics);
}

std::unique_ptr<GritEmbedder> open_collection_embedder(const ModelParts& parts, const CollectionInfo& collection,
                                                       const EmbedOverrides& overrides) {
  if (!manifest_from_json(collection.manifest)) return nullptr;
  return make_embedder(parts, resolve_manifest(parts, collection, overrides));
}

double default_dense_weight(const CollectionInfo& collection) {
  const std::optional<EmbedderManifest> manifest = manifest_from_json(collection.manifest);
  if (manifest && manifest->dense_weight) return *manifest->dense_weight;
  if (manifest && manifest->grit_tuned) return kDenseWeightTuned;
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
