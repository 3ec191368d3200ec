// The names of KV spans of one collection, the same wherever they are made: answering, indexing, warming.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "index/span_key.h"
#include "index/store.h"
#include "model/token.h"
#include "pipelines/model_parts.h"

namespace gritstone {

// The tokens of a passage as prompts and embeddings have them.
std::vector<TokenId> passage_tokens(const Tokenizer& tokenizer, std::string_view heading_path, std::string_view text);

class SpanNaming {
 public:
  // type: of passages' own spans at rest. Loads the model's weights and hash.
  SpanNaming(const ModelParts& model, std::string_view store_id, const CollectionInfo& collection, KvType type);

  // The tokens that a passage's own span is computed behind: the prefix of a document's embedding (<bos><|embed|>\n), so that a causal
  // embedder's pass is also the span's.
  const std::vector<TokenId>& head() const noexcept { return head_; }
  KvType chunk_type() const noexcept { return chunk_.type; }
  KvType prefix_type() const noexcept { return prefix_.type; }

  SpanKey chunk(std::span<const TokenId> passage) const { return span_key(chunk_, &head_key_, passage); }
  // A whole bidirectional embedding pass, its prefix included (GRIT's caching variants).
  SpanKey embedding_pass(std::span<const TokenId> ids) const { return span_key(pass_, nullptr, ids); }
  // A link of a prompt's chain; left: the link in front of it.
  SpanKey prefix(const SpanKey* left, std::span<const TokenId> ids) const { return span_key(prefix_, left, ids); }

 private:
  SpanScope chunk_, prefix_, pass_;
  std::vector<TokenId> head_;
  SpanKey head_key_;
};

}  // namespace gritstone
