#include "pipelines/span_naming.h"

#include "model/tokenizer/role_escape.h"
#include "retriever/grit_format.h"
#include "retriever/passage_text.h"

namespace gritstone {

std::vector<TokenId> passage_tokens(const Tokenizer& tokenizer, std::string_view heading_path, std::string_view text) {
  return tokenizer.encode(escape_roles(passage_text(heading_path, text)), SpecialTokens::kPlain);
}

SpanNaming::SpanNaming(const ModelParts& model, std::string_view store_id, const CollectionInfo& collection, KvType type) {
  chunk_.model = model.hash();
  chunk_.tokenizer = model.tokenizer->fingerprint();
  chunk_.numerics = model.engine().numerics_id();
  chunk_.salt = std::string(store_id) + ":" + std::to_string(collection.id);
  chunk_.type = type;
  pass_ = chunk_;
  pass_.bidirectional = true;
  prefix_ = chunk_;
  prefix_.type = model.engine().options().kv_type;
  head_ = format_for_embedding(*model.tokenizer, EmbedOptions{}, TextRole::kDocument, {}, {}, model.config->context).tokens;
  head_key_ = span_key(chunk_, nullptr, head_);
}

}  // namespace gritstone
