// Text to vectors: the one interface that indexing and querying share.
// Implementations fill the same row-major matrix, so the index never learns which model made it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "base/kv_span.h"
#include "base/matrix_view.h"
#include "retriever/embed_options.h"

namespace gritstone {

enum class TextRole { kDocument, kQuery };

struct EmbedRequest {
  std::span<const std::string> texts;  // n UTF-8 strings, n >= 0; borrowed until return
  TextRole role = TextRole::kDocument;
  std::string instruction;           // of a query; empty: the embedder's own. Documents have none (GRIT)
  bool bulk = false;                 // indexing: runs behind interactive work
  std::optional<KvType> keep_spans;  // also return the KV states of each text's own tokens, as this type
  bool whole_spans = false;          // with keep_spans: of all tokens of the pass, its prefix included
  std::stop_token cancel;
};

struct EmbedResult {
  std::vector<std::size_t> tokens;                   // of each text as embedded: its own tokens, without prefix
  std::vector<std::size_t> cut;                      // tokens of each text beyond max_tokens(), which were left out; 0: nothing was
  std::vector<std::shared_ptr<const KvSpan>> spans;  // [n] with keep_spans, else empty
  std::vector<std::vector<std::int32_t>> span_ids;   // [n] with keep_spans: the tokens of each span
  std::size_t truncated() const noexcept {
    std::size_t texts = 0;
    for (const std::size_t c : cut) texts += c > 0 ? 1 : 0;
    return texts;
  }
};

// Thread-safe.
class Embedder {
 public:
  virtual ~Embedder() = default;

  // Columns of every row; fixed for life. OLMoE-1B-7B: 2048 (its hidden size).
  virtual std::size_t dim() const noexcept = 0;
  // Tokens of a text that count; the rest is cut and reported. The largest number where a service cuts by itself and does not say.
  virtual std::size_t max_tokens() const noexcept = 0;
  // How texts are read, where the embedder is the model that also writes the answers, so that what it computes can be kept for them; null:
  // it is another model.
  virtual const EmbedOptions* model_options() const noexcept { return nullptr; }

  // Embeds request.texts into the rows of `out`, in order.
  //   out     [n, dim()] f32, caller-owned. Rows have L2 norm 1 +- 1e-5, so their inner product is the cosine.
  //   result  tokens per text, how many were cut at max_tokens(), and, if request.keep_spans, the KV span of each text (none where
  //           model_options() is null).
  // A text without any token gets the embedding of its prefix. Cost: one forward pass per text, batched by the engine.
  // Source: GRIT (Muennighoff et al. 2024), section 2.
  // Throws Error: kInvalidArgument if `out` is not [n, dim()] (nothing written); kCancelled; kDevice if the backend failed;
  // kUnavailable if a service does not answer.
  virtual EmbedResult embed(const EmbedRequest& request, MatrixView<float> out) const = 0;
};

}  // namespace gritstone
