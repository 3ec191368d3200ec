// Puts a prompt together from spans of the cache and tokens to compute: what each reuse policy means.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "generator/prompt_format.h"
#include "index/span_cache.h"
#include "index/store.h"
#include "model/engine.h"
#include "pipelines/model_parts.h"
#include "pipelines/prompt_links.h"
#include "pipelines/reuse_policy.h"
#include "pipelines/span_naming.h"

namespace gritstone {

enum class SpanSource { kLive, kComputed, kRam, kDisk };
std::string_view span_source_name(SpanSource source) noexcept;  // "live", "computed", "ram", "disk"

// The chunk whose text a passage is. Absent for a part of a chunk: its states are of this question alone and stay in this process.
using PassageOwner = std::optional<ChunkId>;

// Where the states of one passage came from.
struct PassageReuse {
  SpanSource source = SpanSource::kLive;
  std::size_t tokens = 0;
  std::size_t recomputed = 0;  // of them, in their place in the prompt
  std::uint64_t bytes = 0;     // of the span
  double load_ms = 0;          // mapping and verifying a file
};

struct ComposedPrompt {
  // Of the job: every slot of the prompt belongs to a segment or to a live token, at its own position.
  std::vector<Segment> context;
  std::vector<TokenId> tokens;
  std::vector<TokenRun> runs;
  // What the job is to save, and under which names; filled in by keep().
  std::vector<Wants::Kv> save;
  std::vector<SpanPut> puts;

  std::vector<PassageReuse> passages;
  std::size_t reused_tokens = 0;      // from the cache
  std::size_t recomputed_tokens = 0;  // of passages with a span, computed again
  std::uint64_t bytes = 0;            // of the spans read
  double compute_ms = 0;              // spans that were missing
  double select_ms = 0;               // kBlend: finding the tokens that deviate
};

struct ComposerOptions {
  ReusePolicy policy;
  // At rest, of passages' own spans. Spans just computed are rounded alike, so that an answer does not depend on what was cached. Prefixes
  // (exact) always have the live type.
  KvType span_type = KvType::kInt8;
  std::stop_token cancel;
};

// Borrows everything. One per request; the cache is shared.
class PromptComposer {
 public:
  PromptComposer(const ModelParts& model, SpanCache& cache, const CollectionInfo& collection, const ComposerOptions& options);

  // chunks[i]: whose passage_text() is passage i of the prompt. Computes the spans that are missing. GRIT's variants write the
  // paper's prompt around the first passage and the question, and leave the other passages out. Throws what the engine throws.
  ComposedPrompt compose(const Prompt& prompt, std::span<const PassageOwner> chunks);

  // Hands the job's saved states to the cache. `saved` in the order of `save`.
  void keep(ComposedPrompt& composed, std::span<const std::shared_ptr<const KvSpan>> saved, double seconds_per_token);

  const SpanNaming& naming() const noexcept { return naming_; }

 private:
  std::size_t take_prefix(const Prompt& prompt, std::span<const PromptLink> links, std::span<const PassageOwner> chunks,
                          ComposedPrompt& out, std::vector<SpanPut>& missing);
  std::vector<std::shared_ptr<const KvSpan>> passage_spans(const Prompt& prompt, std::span<const PromptPiece> passages,
                                                           std::span<const PassageOwner> chunks, ComposedPrompt& out);
  ComposedPrompt compose_grit(const Prompt& prompt, std::span<const PassageOwner> chunks);
  std::shared_ptr<const KvSpan> embedding_pass(const std::vector<TokenId>& ids, std::optional<ChunkId> chunk, PassageReuse& reuse,
                                               ComposedPrompt& out);
  std::vector<std::vector<bool>> select(const Prompt& prompt, std::span<const PromptPiece> passages,
                                        std::span<const std::shared_ptr<const KvSpan>> spans, ComposedPrompt& out);

  const Tokenizer& tokenizer_;
  Engine& engine_;
  SpanCache& cache_;
  const std::string collection_;
  const ComposerOptions options_;
  const SpanNaming naming_;
};

}  // namespace gritstone
