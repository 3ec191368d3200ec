#include "apps/server/model_embedder.h"

#include "pipelines/embedder_setup.h"

namespace gritstone {
namespace {

constexpr std::size_t kPrefixTokens = 64;  // room for the prefix of a query with its instruction

}  // namespace

std::shared_ptr<const GritEmbedder> ModelEmbedder::get(const ModelParts& parts) {
  const std::lock_guard lock(mutex_);
  if (!embedder_) {
    EmbedOverrides overrides;
    const std::size_t context = parts.config->context;
    overrides.max_tokens = context > 2 * kPrefixTokens ? context - kPrefixTokens : context / 2;
    embedder_ = std::make_shared<const GritEmbedder>(parts.engine(), *parts.tokenizer, resolve_embed_options(*parts.config, overrides));
  }
  return embedder_;
}

}  // namespace gritstone
