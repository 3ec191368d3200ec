#include "retriever/search.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <set>
#include <utility>

#include "base/error.h"
#include "retriever/near_duplicates.h"
#include "retriever/passage_text.h"
#include "retriever/pooling.h"

namespace gritstone {
namespace {

using Clock = std::chrono::steady_clock;

// Adds the time until its end to a timing.
class Timed {
 public:
  explicit Timed(double& milliseconds) : milliseconds_(milliseconds), start_(Clock::now()) {}
  Timed(const Timed&) = delete;
  Timed& operator=(const Timed&) = delete;
  ~Timed() { milliseconds_ += std::chrono::duration<double, std::milli>(Clock::now() - start_).count(); }

 private:
  double& milliseconds_;
  Clock::time_point start_;
};

}  // namespace

class WeightSweep::Impl {
 public:
  Impl(const Snapshot& snapshot, const Embedder* embedder, std::string_view query, const SearchOptions& options)
      : snapshot_(snapshot), embedder_(embedder), query_(query), options_(options), wanted_(std::max(options.k, options.rerank)) {
    if (options.k == 0) throw Error(ErrorCode::kInvalidArgument, "k is 0, expected at least 1");
    if (options.rerank > 0 && options.reranker == nullptr) throw Error(ErrorCode::kInvalidArgument, "reranking needs a model");
  }

  SearchResult at(double dense_weight) {
    options_.dense_weight = dense_weight;
    result_ = {};
    {
      const Timed total(result_.timings.total_ms);
      prepare();
      // Limits per document and duplicates eat candidates, so widen until enough hits are left or there are no more.
      for (std::size_t depth = std::max<std::size_t>(64, wanted_ * 4);; depth *= 4) {
        if (options_.cancel.stop_requested()) throw Error(ErrorCode::kCancelled, "the search was cancelled");
        const Candidates& candidates = candidates_at(depth);
        select(rank(candidates));
        if (result_.hits.size() >= wanted_ || candidates.exhausted) break;
      }
      if (options_.rerank > 0) rerank();
      if (result_.hits.size() > options_.k) result_.hits.resize(options_.k);
    }
    result_.damaged_chunks = damaged_.size();
    return std::move(result_);
  }

 private:
  // The two lists of one depth, each completed with what only the other found.
  struct Candidates {
    std::vector<ScoredChunk> by_words, by_vector;
    bool exhausted = false;  // a deeper look finds no more
  };

  void prepare() {
    const CollectionInfo& info = snapshot_.info();
    const bool wants_dense = options_.mode != SearchMode::kBm25;
    if (options_.mode == SearchMode::kDense) {
      if (embedder_ == nullptr && (info.embedded_chunks > 0 || info.chunks == 0)) {
        throw Error(ErrorCode::kInvalidArgument, "dense search needs a model");
      }
      if (info.embedded_chunks == 0 && info.chunks > 0) {
        throw Error(ErrorCode::kInvalidArgument,
                    "collection \"" + info.name + "\" has no vectors yet; embed it first: gritstone index PATH -c " + info.name);
      }
    }
    use_dense_ = wants_dense && embedder_ != nullptr && info.chunks > 0 &&
                 !(options_.mode == SearchMode::kFused && options_.dense_weight == 0 && options_.fusion == FusionKind::kConvex);
    result_.vectors_incomplete = use_dense_ && info.embedded_chunks < info.chunks;
    if (!use_dense_ || !query_vector_.empty()) return;
    {
      const Timed timed(result_.timings.embed_ms);
      query_vector_.resize(embedder_->dim());
      const std::string text(query_);
      EmbedRequest request;
      request.texts = std::span(&text, 1);
      request.role = TextRole::kQuery;
      request.instruction = options_.instruction;
      request.cancel = options_.cancel;
      request.keep_spans = options_.keep_query_span;
      request.whole_spans = true;
      const EmbedResult done = embedder_->embed(request, MatrixView<float>(query_vector_.data(), 1, query_vector_.size()));
      if (!done.spans.empty() && done.cut[0] == 0 && options_.on_query_embedded) {
        options_.on_query_embedded(done.spans[0], done.span_ids[0]);
      }
    }
    const Timed timed(result_.timings.vector_ms);
    vectors_ = snapshot_.vectors();
    if (options_.placement != nullptr) vectors_ = options_.placement->place(std::move(vectors_));
    if (vectors_ != nullptr && vectors_->dim() != embedder_->dim()) {
      throw Error(ErrorCode::kInvalidArgument, "collection \"" + info.name + "\" has vectors of " + std::to_string(vectors_->dim()) +
                                                   " columns, the embedder gives " + std::to_string(embedder_->dim()));
    }
    if (vectors_ != nullptr && !options_.filter.empty()) allowed_ = snapshot_.matching_chunks(options_.filter);
  }

  const Candidates& candidates_at(std::size_t depth) {
    const auto [it, fresh] = candidates_.try_emplace({depth, use_dense_});
    Candidates& c = it->second;
    if (!fresh) return c;
    if (options_.mode != SearchMode::kDense) {
      const Timed timed(result_.timings.bm25_ms);
      c.by_words = snapshot_.bm25(query_, depth, options_.filter);
    }
    if (use_dense_ && vectors_ != nullptr) {
      const Timed timed(result_.timings.vector_ms);
      c.by_vector = vectors_->search(query_vector_, depth, allowed_ ? &*allowed_ : nullptr);
    }
    c.exhausted = c.by_words.size() < depth && c.by_vector.size() < depth;
    if (options_.mode == SearchMode::kFused && use_dense_) complete(c.by_words, c.by_vector);
    return c;
  }

  std::vector<FusedChunk> rank(const Candidates& candidates) {
    const Timed timed(result_.timings.fuse_ms);
    const double weight = options_.mode == SearchMode::kDense ? 1.0 : use_dense_ ? options_.dense_weight : 0.0;
    std::vector<FusedChunk> fused = fuse(candidates.by_words, candidates.by_vector, options_.fusion, weight);
    // With one list the score shown is that list's own.
    if (options_.mode == SearchMode::kBm25) {
      for (FusedChunk& c : fused) c.score = static_cast<double>(c.bm25.value_or(0.0f));
    } else if (options_.mode == SearchMode::kDense) {
      for (FusedChunk& c : fused) c.score = static_cast<double>(c.dense.value_or(-1.0f));
    }
    result_.candidates = fused.size();
    return fused;
  }

  // Gives each candidate of one list its score of the other, so that fusion compares like with like.
  void complete(std::vector<ScoredChunk>& by_words, std::vector<ScoredChunk>& by_vector) {
    std::set<ChunkId> has_words;
    std::set<ChunkId> has_vector;
    for (const ScoredChunk& c : by_words) has_words.insert(c.id);
    for (const ScoredChunk& c : by_vector) has_vector.insert(c.id);
    std::vector<ChunkId> missing_words;
    for (const ScoredChunk& c : by_vector) {
      if (!has_words.contains(c.id)) missing_words.push_back(c.id);
    }
    const std::size_t from_words = by_words.size();
    if (!missing_words.empty()) {
      const Timed timed(result_.timings.bm25_ms);
      const std::vector<float> scores = snapshot_.bm25_scores(query_, missing_words);
      for (std::size_t i = 0; i < missing_words.size(); ++i) {
        if (scores[i] > 0) by_words.push_back({missing_words[i], scores[i]});
      }
    }
    std::vector<ChunkId> without_vector;
    {
      const Timed timed(result_.timings.vector_ms);
      for (std::size_t i = 0; i < from_words; ++i) {
        const ChunkId id = by_words[i].id;
        if (has_vector.contains(id)) continue;
        const std::vector<float> row = vectors_ != nullptr ? vectors_->row(id) : std::vector<float>{};
        if (row.size() == query_vector_.size()) {
          by_vector.push_back({id, static_cast<float>(dot(row, query_vector_))});
        } else {
          without_vector.push_back(id);
        }
      }
    }
    if (without_vector.size() > options_.embed_on_demand) without_vector.resize(options_.embed_on_demand);
    embed_on_demand(without_vector, by_vector);
  }

  void embed_on_demand(const std::vector<ChunkId>& ids, std::vector<ScoredChunk>& by_vector) {
    const Timed timed(result_.timings.embed_ms);
    std::vector<std::string> texts;
    std::vector<ChunkRecord> fresh;
    for (const ChunkId id : ids) {
      if (on_demand_.contains(id)) continue;
      std::optional<ChunkRecord> chunk = read(id);
      if (!chunk) continue;
      texts.push_back(passage_text(chunk->heading_path, chunk->text));
      fresh.push_back(std::move(*chunk));
    }
    if (!fresh.empty()) {
      std::vector<float> rows(fresh.size() * embedder_->dim());
      EmbedRequest request;
      request.texts = texts;
      request.cancel = options_.cancel;
      request.keep_spans = options_.keep_spans;
      request.whole_spans = options_.whole_spans;
      const EmbedResult done = embedder_->embed(request, MatrixView<float>(rows.data(), fresh.size(), embedder_->dim()));
      for (std::size_t i = 0; i < fresh.size(); ++i) {
        const std::span<const float> row(rows.data() + i * embedder_->dim(), embedder_->dim());
        on_demand_[fresh[i].id] = static_cast<float>(dot(row, query_vector_));
        // The span of a text that was cut is not the passage's.
        const bool whole = !done.spans.empty() && done.cut[i] == 0;
        if (!options_.on_embedded) continue;
        options_.on_embedded(fresh[i], row, whole ? done.spans[i] : nullptr, whole ? done.span_ids[i] : std::vector<std::int32_t>{});
      }
      result_.embedded_on_demand += fresh.size();
    }
    for (const ChunkId id : ids) {
      if (const auto it = on_demand_.find(id); it != on_demand_.end()) by_vector.push_back({id, it->second});
    }
  }

  // Absent if its row is damaged: such text must not be shown or put before a model.
  std::optional<ChunkRecord> read(ChunkId id) {
    if (const auto it = chunks_.find(id); it != chunks_.end()) return it->second;
    try {
      return chunks_.emplace(id, snapshot_.chunk(id)).first->second;
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kDamagedData) throw;
      damaged_.insert(id);
      return std::nullopt;
    }
  }

  void select(const std::vector<FusedChunk>& candidates) {
    const Timed timed(result_.timings.fuse_ms);
    result_.hits.clear();
    result_.collapsed = 0;
    std::map<DocumentId, std::size_t> per_document;
    std::vector<TextSketch> kept;
    for (const FusedChunk& c : candidates) {
      if (result_.hits.size() == wanted_) break;
      std::optional<ChunkRecord> chunk = read(c.id);
      if (!chunk) continue;
      if (options_.max_per_document > 0 && per_document[chunk->document] >= options_.max_per_document) continue;
      if (options_.collapse_duplicates) {
        TextSketch sketch(chunk->text);
        const bool known =
            std::any_of(kept.begin(), kept.end(), [&](const TextSketch& other) { return sketch.containment(other) >= kNearDuplicate; });
        if (known) {
          ++result_.collapsed;
          continue;
        }
        kept.push_back(std::move(sketch));
      }
      ++per_document[chunk->document];
      result_.hits.push_back(
          {result_.hits.size() + 1, c.score, c.bm25, c.dense, c.bm25_rank, c.dense_rank, std::nullopt, std::move(*chunk)});
    }
  }

  void rerank() {
    const Timed timed(result_.timings.rerank_ms);
    std::vector<SearchHit>& hits = result_.hits;
    std::vector<const ChunkRecord*> passages;
    std::vector<double> scores;
    for (const SearchHit& hit : hits) {
      if (passages.size() < options_.rerank) passages.push_back(&hit.chunk);
      scores.push_back(hit.score);
    }
    const std::vector<double> likelihoods = options_.reranker->score(query_, passages, options_.cancel);
    const std::vector<double> mixed = interpolate(scores, likelihoods, options_.rerank_weight);
    for (std::size_t i = 0; i < hits.size(); ++i) {
      hits[i].score = mixed[i];
      if (i < likelihoods.size()) hits[i].likelihood = likelihoods[i];
    }
    std::ranges::stable_sort(hits, std::greater<>(), &SearchHit::score);
    for (std::size_t i = 0; i < hits.size(); ++i) hits[i].rank = i + 1;
  }

  const Snapshot& snapshot_;
  const Embedder* embedder_;
  std::string_view query_;
  SearchOptions options_;
  const std::size_t wanted_;  // hits before reranking
  SearchResult result_;
  bool use_dense_ = false;
  std::map<std::pair<std::size_t, bool>, Candidates> candidates_;  // by depth, and whether vectors take part
  std::map<ChunkId, ChunkRecord> chunks_;
  std::vector<float> query_vector_;
  std::shared_ptr<const VectorIndex> vectors_;
  std::optional<std::vector<ChunkId>> allowed_;
  std::map<ChunkId, float> on_demand_;
  std::set<ChunkId> damaged_;
};

WeightSweep::WeightSweep(const Snapshot& snapshot, const Embedder* embedder, std::string_view query, const SearchOptions& options)
    : impl_(std::make_unique<Impl>(snapshot, embedder, query, options)) {}
WeightSweep::~WeightSweep() = default;
SearchResult WeightSweep::at(double dense_weight) { return impl_->at(dense_weight); }

SearchMode parse_search_mode(std::string_view name) {
  for (const SearchMode mode : {SearchMode::kFused, SearchMode::kDense, SearchMode::kBm25}) {
    if (search_mode_name(mode) == name) return mode;
  }
  throw Error(ErrorCode::kInvalidArgument, "unknown mode \"" + std::string(name) + "\", expected one of fused, dense, bm25");
}

std::string_view search_mode_name(SearchMode mode) noexcept {
  switch (mode) {
    case SearchMode::kFused:
      return "fused";
    case SearchMode::kDense:
      return "dense";
    case SearchMode::kBm25:
      return "bm25";
  }
  return "fused";
}

SearchResult search(const Snapshot& snapshot, const Embedder* embedder, std::string_view query, const SearchOptions& options) {
  return WeightSweep(snapshot, embedder, query, options).at(options.dense_weight);
}

}  // namespace gritstone
