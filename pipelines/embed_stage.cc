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

constexpr std::size_t kBatch = 64;
constexpr std::size_t kBatchWithSpans = 8;  // 17 MB a span of OLMoE-1B-7B in int8
// A mean needs fewer rows than directions do.
constexpr std::size_t kQuerySample = 256;
// A commit syncs the disk: often enough that a killed run loses seconds, seldom enough that it costs nothing.
constexpr auto kCommitEvery = std::chrono::seconds(5);

class Stage {
 public:
  Stage(WriteJob& job, const std::string& collection, const Tokenizer& tokenizer, const EmbedStageOptions& options,
        EmbedStageResult& result)
      : job_(job),
        collection_(collection),
        tokenizer_(tokenizer),
        options_(options),
        used_(options.spans ? job.span_stats().bytes : 0),
        result_(result) {}

  void set_total(std::size_t total) { total_ = total; }

  // Rows of the chunks' texts; `statistics` null: as they come from the model.
  std::vector<float> embed(const GritEmbedder& embedder, std::span<const PendingChunk> chunks) {
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
  std::vector<float> embed_as_queries(const GritEmbedder& embedder, std::span<const PendingChunk> chunks) const {
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

  std::size_t batch() const { return keeps_spans() ? kBatchWithSpans : kBatch; }
  bool keeps_spans() const { return options_.spans && !full_; }

  void put(std::span<const PendingChunk> chunks, const std::vector<float>& rows, std::size_t dim) {
    std::vector<ChunkId> ids;
    for (const PendingChunk& chunk : chunks) ids.push_back(chunk.id);
    job_.put_embeddings(collection_, ids, MatrixView<const float>(rows.data(), chunks.size(), dim));
  }

 private:
  void keep(std::span<const PendingChunk> chunks, const EmbedResult& done, double seconds) {
    if (done.spans.empty()) return;
    std::size_t tokens = 0;
    for (const std::size_t n : done.tokens) tokens += n;
    std::vector<SpanPut> puts;
    for (std::size_t i = 0; i < chunks.size(); ++i) {
      SpanPut put;
      put.ids = passage_tokens(tokenizer_, chunks[i].heading_path, chunks[i].text);
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
    if (!full_) result_.spans += job_.put_spans(collection_, puts, options_.spans->disk_bytes);
  }

  WriteJob& job_;
  const std::string& collection_;
  const Tokenizer& tokenizer_;
  const EmbedStageOptions& options_;
  std::uint64_t used_;  // of the disk budget
  bool full_ = false;
  EmbedStageResult& result_;
  std::size_t total_ = 0;
};

// Every stride-th pending chunk, at most kStatisticsSample.
std::vector<PendingChunk> sample_pending(WriteJob& job, const std::string& collection, std::size_t pending) {
  const std::size_t stride = (pending + kStatisticsSample - 1) / kStatisticsSample;
  std::vector<PendingChunk> sample;
  ChunkId after = 0;
  std::size_t index = 0;
  while (true) {
    std::vector<PendingChunk> page = job.pending_embeddings(collection, 1024, after);
    if (page.empty()) return sample;
    after = page.back().id;
    for (PendingChunk& chunk : page) {
      if (index++ % stride == 0) sample.push_back(std::move(chunk));
    }
  }
}

std::size_t count_pending(WriteJob& job, const std::string& collection) {
  std::size_t count = 0;
  ChunkId after = 0;
  while (true) {
    const std::vector<PendingChunk> page = job.pending_embeddings(collection, 4096, after);
    if (page.empty()) return count;
    count += page.size();
    after = page.back().id;
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

EmbedStageResult embed_pending(WriteJob& job, const CollectionInfo& collection, const ModelParts& parts, EmbedderManifest& manifest,
                               const EmbedStageOptions& options) {
  EmbedStageResult result;
  std::size_t pending = count_pending(job, collection.name);
  if (pending == 0) return result;
  if (must_refreeze(manifest, pending, collection.chunks - std::min(pending, collection.chunks))) {
    job.drop_embeddings(collection.name);
    manifest.statistics.reset();
    pending = count_pending(job, collection.name);
  }
  EmbedStageOptions stage_options = options;
  if (!embedding_makes_spans(manifest.options, *parts.config)) stage_options.spans.reset();
  Stage stage(job, collection.name, *parts.tokenizer, stage_options, result);
  stage.set_total(pending);

  if (manifest.wants_statistics && !manifest.statistics) {
    const std::vector<PendingChunk> sample = sample_pending(job, collection.name, pending);
    const auto embedder = make_embedder(parts, manifest);
    std::vector<float> rows = stage.embed(*embedder, sample);
    const MatrixView<float> view(rows.data(), sample.size(), embedder->dim());
    const std::vector<float> queries = stage.embed_as_queries(*embedder, sample);
    const MatrixView<const float> query_view(queries.data(), queries.size() / embedder->dim(), embedder->dim());
    // MoEE's router rows are z-scored only.
    const std::size_t components = manifest.options.pooling == Pooling::kRouting ? 0 : components_for(sample.size());
    manifest.statistics = embed_statistics(view, query_view, components);
    for (std::size_t i = 0; i < sample.size(); ++i) manifest.statistics->apply(view.row(i), TextRole::kDocument);
    job.set_manifest(collection.name, manifest_to_json(manifest));
    stage.put(sample, rows, embedder->dim());
    job.commit();
    result.statistics_frozen = true;
  }

  const auto embedder = make_embedder(parts, manifest);
  auto last_commit = std::chrono::steady_clock::now();
  while (true) {
    // Stored batch by batch, so what is pending shrinks and needs no cursor.
    const std::vector<PendingChunk> batch = job.pending_embeddings(collection.name, stage.batch());
    if (batch.empty()) break;
    try {
      stage.put(batch, stage.embed(*embedder, batch), embedder->dim());
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kCancelled) job.commit();
      throw;
    }
    const auto now = std::chrono::steady_clock::now();
    if (now - last_commit >= kCommitEvery) {
      job.commit();
      last_commit = now;
    }
  }
  job.commit();
  return result;
}

}  // namespace gritstone
