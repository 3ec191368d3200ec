#include "pipelines/embed_stage.h"

#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "generator/sentences.h"
#include "index/span_file.h"
#include "retriever/passage_text.h"
#include "retriever/whitening.h"

namespace gritstone {
namespace {

constexpr std::size_t kBatchWithSpans = 8;  // 17 MB a span of OLMoE-1B-7B in int8
// A mean needs fewer rows than directions do.
constexpr std::size_t kQuerySample = 256;
// A commit syncs the disk: often enough that a killed run loses seconds, seldom enough that it costs nothing.
constexpr auto kCommitEvery = std::chrono::seconds(5);

class Stage {
 public:
  // tokenizer: only for spans; null without a model.
  Stage(EmbedTarget& target, const Tokenizer* tokenizer, const EmbedStageOptions& options, EmbedStageResult& result)
      : target_(target), tokenizer_(tokenizer), options_(options), used_(options.spans ? target.span_bytes() : 0), result_(result) {}

  void set_total(std::size_t total) { total_ = total; }

  // Rows of the chunks' texts; `statistics` null: as they come from the model.
  std::vector<float> embed(const Embedder& embedder, std::span<const PendingChunk> chunks) {
    std::vector<float> rows(chunks.size() * embedder.dim());
    // batch() grows once the spans' budget is full, which may be in the middle of this.
    for (std::size_t first = 0, count = 0; first < chunks.size(); first += count) {
      count = std::min(batch(), chunks.size() - first);
      const auto part = chunks.subspan(first, count);
      std::vector<std::string> texts;
      for (const PendingChunk& chunk : part) texts.push_back(passage_text(chunk.heading_path, chunk.text));
      EmbedRequest request;
      request.texts = texts;
      request.bulk = true;
      request.cancel = options_.stop;
      if (keeps_spans()) request.keep_spans = options_.spans->naming->chunk_type();
      const auto start = std::chrono::steady_clock::now();
      const EmbedResult done =
          embedder.embed(request, MatrixView<float>(rows.data() + first * embedder.dim(), part.size(), embedder.dim()));
      for (const std::size_t tokens : done.tokens) result_.tokens += tokens;
      keep(part, done, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
      result_.chunks += part.size();
      result_.truncated += done.truncated();
      if (options_.on_progress) options_.on_progress(result_.chunks, total_, result_.tokens);
    }
    return rows;
  }

  // Questions are not known yet; first sentences of chunks are as short and stand for them. On SciFact their mean serves as well as that of
  // the real queries (nDCG@10 0.625 and 0.626).
  std::vector<float> embed_as_queries(const Embedder& embedder, std::span<const PendingChunk> chunks) const {
    const std::size_t stride = std::max<std::size_t>(1, chunks.size() / kQuerySample);
    std::vector<std::string> texts;
    for (std::size_t i = 0; i < chunks.size(); i += stride) {
      const std::vector<ByteSpan> sentences = sentences_of(chunks[i].text);
      if (!sentences.empty()) texts.push_back(chunks[i].text.substr(sentences[0].start, sentences[0].end - sentences[0].start));
    }
    std::vector<float> rows(texts.size() * embedder.dim());
    EmbedRequest request;
    request.texts = texts;
    request.role = TextRole::kQuery;
    request.bulk = true;
    request.cancel = options_.stop;
    embedder.embed(request, MatrixView<float>(rows.data(), texts.size(), embedder.dim()));
    return rows;
  }

  std::size_t batch() const { return keeps_spans() ? kBatchWithSpans : options_.batch; }
  bool keeps_spans() const { return options_.spans && !full_; }

 private:
  void keep(std::span<const PendingChunk> chunks, const EmbedResult& done, double seconds) {
    if (done.spans.empty()) return;
    std::size_t tokens = 0;
    for (const std::size_t n : done.tokens) tokens += n;
    std::vector<SpanPut> puts;
    for (std::size_t i = 0; i < chunks.size(); ++i) {
      SpanPut put;
      put.ids = passage_tokens(*tokenizer_, chunks[i].heading_path, chunks[i].text);
      // A passage that the embedder cut has no whole span.
      if (done.cut[i] > 0 || put.ids.size() != done.spans[i]->tokens) continue;
      put.key = options_.spans->naming->chunk(put.ids);
      put.span = done.spans[i];
      put.chunk = chunks[i].id;
      put.cost_seconds = seconds * static_cast<double>(put.ids.size()) / static_cast<double>(std::max<std::size_t>(1, tokens));
      used_ += span_file_bytes(*put.span);
      puts.push_back(std::move(put));
    }
    full_ = used_ > options_.spans->disk_bytes;
    if (!full_) result_.spans += target_.put_spans(puts, options_.spans->disk_bytes);
  }

  EmbedTarget& target_;
  const Tokenizer* tokenizer_;
  const EmbedStageOptions& options_;
  std::uint64_t used_;  // of the disk budget
  bool full_ = false;
  EmbedStageResult& result_;
  std::size_t total_ = 0;
};

// Every stride-th pending chunk, at most kStatisticsSample.
std::vector<PendingChunk> sample_pending(EmbedTarget& target, std::size_t pending) {
  const std::size_t stride = std::max<std::size_t>(1, (pending + kStatisticsSample - 1) / kStatisticsSample);
  std::vector<PendingChunk> sample;
  ChunkId after = 0;
  std::size_t index = 0;
  while (true) {
    std::vector<PendingChunk> page = target.pending(1024, after);
    if (page.empty()) return sample;
    after = page.back().id;
    for (PendingChunk& chunk : page) {
      if (index++ % stride == 0) sample.push_back(std::move(chunk));
    }
  }
}

bool must_refreeze(const EmbedderManifest& manifest, std::size_t pending, std::size_t embedded) {
  if (!manifest.statistics || manifest.statistics->samples >= kStatisticsFirm) return false;
  return pending > 0 && pending + embedded >= manifest.statistics->samples * kRefreezeGrowth;
}

}  // namespace

bool embedding_makes_spans(const EmbedOptions& options, const ModelConfig& config) {
  return options.format == EmbedFormat::kGrit && options.attention == Attention::kCausal &&
         (options.pooling == Pooling::kMean || options.pooling == Pooling::kWeightedMean) &&
         options.layer.value_or(config.layers) == config.layers;
}

bool embedding_is_grits(const EmbedOptions& options, const ModelConfig& config) {
  return options.format == EmbedFormat::kGrit && options.attention == Attention::kBidirectional && options.pooling == Pooling::kMean &&
         options.layer.value_or(config.layers) == config.layers;
}

EmbedStageResult embed_pending(EmbedTarget& target, const CollectionInfo& collection, const ModelParts& parts, EmbedderManifest& manifest,
                               const EmbedStageOptions& options) {
  EmbedStageResult result;
  std::size_t pending = collection.chunks - std::min(collection.embedded_chunks, collection.chunks);
  if (pending == 0) return result;
  if (must_refreeze(manifest, pending, collection.chunks - pending)) {
    target.start_over();
    manifest.statistics.reset();
    pending = collection.chunks;
  }
  EmbedStageOptions stage_options = options;
  if (manifest.remote || !embedding_makes_spans(manifest.options, *parts.config)) stage_options.spans.reset();
  Stage stage(target, parts.tokenizer, stage_options, result);
  stage.set_total(pending);

  if (manifest.wants_statistics && !manifest.statistics) {
    const std::vector<PendingChunk> sample = sample_pending(target, pending);
    if (sample.empty()) return result;  // the last document went meanwhile
    const auto embedder = make_embedder(parts, manifest);
    std::vector<float> rows = stage.embed(*embedder, sample);
    const MatrixView<float> view(rows.data(), sample.size(), embedder->dim());
    const std::vector<float> queries = stage.embed_as_queries(*embedder, sample);
    const MatrixView<const float> query_view(queries.data(), queries.size() / embedder->dim(), embedder->dim());
    // MoEE's router rows are z-scored only.
    const std::size_t components = manifest.options.pooling == Pooling::kRouting ? 0 : components_for(sample.size());
    manifest.statistics = embed_statistics(view, query_view, components);
    for (std::size_t i = 0; i < sample.size(); ++i) manifest.statistics->apply(view.row(i), TextRole::kDocument);
    target.freeze(manifest_to_json(manifest), sample, MatrixView<const float>(rows.data(), sample.size(), embedder->dim()));
    result.statistics_frozen = true;
  }

  const auto embedder = make_embedder(parts, manifest, options.stop);
  if (manifest.dim != embedder->dim()) {
    // A service was asked for its dimension: what follows must agree with it, in later runs too.
    manifest.dim = embedder->dim();
    target.freeze(manifest_to_json(manifest), {}, MatrixView<const float>(nullptr, 0, manifest.dim));
  }
  auto last_commit = std::chrono::steady_clock::now();
  ChunkId after = 0;  // what was put shows only with the next commit
  while (true) {
    const std::vector<PendingChunk> batch = target.pending(stage.batch(), after);
    if (batch.empty()) break;
    after = batch.back().id;
    try {
      const std::vector<float> rows = stage.embed(*embedder, batch);
      target.put(batch, MatrixView<const float>(rows.data(), batch.size(), embedder->dim()));
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kCancelled || error.code() == ErrorCode::kUnavailable) target.commit();
      throw;
    }
    const auto now = std::chrono::steady_clock::now();
    if (now - last_commit >= kCommitEvery) {
      target.commit();
      last_commit = now;
    }
  }
  target.commit();
  return result;
}

}  // namespace gritstone
